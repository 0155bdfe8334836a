"""The contract of a model, and the optional ones beside it.

A model is a Flax NNX module, a class of the user's or of this folder. It is built as
`Name(input_shape, outputs, *, KEYS..., rngs)`, where `input_shape` and `outputs` are the task's and
the keyword-only parameters are its config keys. It draws from `rngs` only to make parameters. It
keeps a `Hyper` number as `nn.layers.HyperVariable(jnp.asarray(number))` and reads it as
`self.number[...]`; it keeps a constant as a NumPy array or an `nnx.Variable`. The batch axis is
`x.shape[0]`, never `len(x)`, because it has no number in an exported program::

    class MLP(nnx.Module):
        sharding = {r"a\\.kernel": ("fsdp", "tensor")}  # optional: `Sharded`

        def __init__(self, input_shape, outputs, *, width: int = 64, dropout: Rate = 0.0, rngs):
            self.a = nnx.Linear(math.prod(input_shape), width, rngs=rngs)
            self.dropout = Dropout(dropout)  # of lepton_jax.nn.layers
            self.b = nnx.Linear(width, outputs, rngs=rngs)

        def __call__(self, x, noise=None):
            x = nnx.relu(self.a(x.reshape(x.shape[0], -1)))
            return self.b(self.dropout(x, noise))

An optional contract is what a task or a command asks for: `isinstance(model, CachedModel)`.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax

from lepton_jax.nn.rng import Noise
from lepton_jax.nn.token_batch import TokenBatch

# B batch, S tokens of a source, T tokens, V vocabulary, Z latent.


@runtime_checkable
class Model(Protocol):
    """What every model is: a function of a batch, with variables."""

    def __call__(self, x: Any, /, noise: Noise | None = None) -> Any:
        """Computes the outputs of a batch; traced.

        `x` is the task's input, `[B, *input_shape]` for one array. `noise` is None in evaluation;
        in training each `noise()` gives a fresh key an example [B], so that a draw does not depend
        on where a batch lies. What the model returns is what the task expects: for classification
        logits [B, K]; with auxiliary classifiers, in training, `(logits, [(weight, logits), ...])`.
        """
        ...


class PairModel(Protocol):
    """A model of two inputs: noisy images and their times, a source and the target so far."""

    def __call__(self, x: Any, y: Any, /, noise: Noise | None = None) -> Any:
        """Computes the outputs of a batch, as `Model` does."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """A model class that says which dimensions of its parameters may be spread over a mesh."""

    @property
    def sharding(self) -> Mapping[str, tuple[str | None, ...]]:
        """Mesh axes by a pattern of the parameter's name, aligned to the last dimensions.

        A parameter that no pattern matches is replicated. `UserError` before the first step: a
        pattern that matches nothing, an unknown axis, a dimension that does not divide.
        """
        ...


@runtime_checkable
class CachedModel(Protocol):
    """A model that reads texts a few tokens at a time, going on from what it has read.

    `generate --workdir` asks for it, and translation. A model whose context is limited says so in
    an attribute `context`, an int (`HasContext`); the cache then has that room. Without it the room
    is what is read and written in all. Reading token by token gives what `__call__` gives.
    """

    def cache(self, batch: Any, length: int, /) -> Any:
        """Returns the cache before the first token, a pytree with room for `length` tokens.

        `batch` is the number of rows, or for an encoder and decoder the source they translate.
        """
        ...

    def read(self, tokens: jax.Array, cache: Any, /) -> tuple[jax.Array, Any]:
        """Reads tokens int32 [B, T]. Returns logits [B, T, V] and the cache after them."""
        ...


@runtime_checkable
class HasContext(Protocol):
    """A model that reads at most so many tokens."""

    @property
    def context(self) -> int:
        """The greatest number of tokens, positions 0 to `context` - 1."""
        ...


@runtime_checkable
class RecurrentModel(Protocol):
    """A model that keeps a state between batches, for truncated backpropagation through time."""

    def start(self, rows: int) -> Any:
        """Returns the state of so many rows before the first batch: arrays [B, ...]."""
        ...

    def read(self, tokens: jax.Array, state: Any, noise: Noise | None, /) -> tuple[jax.Array, Any]:
        """Reads tokens int32 [B, T]. Returns logits [B, T, V] and the state after them."""
        ...


@runtime_checkable
class AlignedModel(Protocol):
    """A model with attention from an answer to its source."""

    def aligned(self, source: TokenBatch, before: jax.Array, /) -> jax.Array:
        """Returns weights [B, T, S]: how much each answer token reads of each source token.

        `before` int32 [B, T] holds the token before each answer token.
        """
        ...


class LatentModel(Protocol):
    """A variational autoencoder, for `tasks.generation.AutoencodedGeneration`."""

    @property
    def latent(self) -> int:
        """The size Z of the latent."""
        ...

    def encode(self, x: jax.Array, noise: Noise | None) -> tuple[jax.Array, jax.Array]:
        """Returns mean and log-variance [B, Z] of q(z | x) for images [B, H, W, C]."""
        ...

    def decode(self, z: jax.Array, noise: Noise | None) -> jax.Array:
        """Returns logits [B, H, W, C] of p(x | z) for latents [B, Z]."""
        ...
