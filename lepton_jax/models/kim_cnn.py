"""Convolutions over sentences (Kim 2014)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate
from lepton_jax.nn import ops
from lepton_jax.nn.layers import Dropout, Linear
from lepton_jax.nn.rng import Noise
from lepton_jax.nn.token_batch import TokenBatch

# B batch, T tokens, D width of a token's vector, F filters of one width, K classes.


class KimCNN(nnx.Module):
    """A classifier of texts, to `outputs` logits: convolutions over words and max pooling in time.

    c_i = relu(w . x_{i:i+h-1} + b) at each position i, the maximum over the positions, dropout, and
    a linear layer: CNN-rand of Kim (2014), section 2. A text is padded with zeros on both sides, so
    it may be shorter than a filter.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"embedding\.embedding": (None, "fsdp"),
        r"convs\.\d+\.kernel": ("fsdp", None),
        r"head\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, int],
        outputs: int,
        *,
        windows: tuple[PositiveInt, ...] = (3, 4, 5),
        filters: PositiveInt = 100,
        width: PositiveInt = 300,
        dropout: Rate = 0.5,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (T, V).

        Keys:
          windows: the filters' lengths in words.
          filters: the number of filters of each length.
          width: the size of a token's vector.
          dropout: the rate of dropout before the last layer.
        """
        _, V = input_shape

        def uniform(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
            # U(-0.25, 0.25), as Kim's code draws the vectors of words.
            return jax.random.uniform(key, shape, dtype, -0.25, 0.25)

        self.embedding = nnx.Embed(V, width, embedding_init=uniform, rngs=rngs)
        self.convs = nnx.List([Linear(h * width, filters, rngs=rngs) for h in windows])
        self.dropout = Dropout(dropout)
        self.head = Linear(len(windows) * filters, outputs, rngs=rngs)
        self._windows = windows

    def __call__(self, text: TokenBatch, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`."""
        # Not `self.embedding(...)`: nnx.Embed computes in the dtype of its construction, float32.
        x_BTD = jnp.take(self.embedding.embedding[...], text.tokens, axis=0)
        x_BTD *= text.counts()[..., None]
        pooled = []
        for h, conv in zip(self._windows, self.convs, strict=True):
            before = h - 1
            padded = jnp.pad(x_BTD, ((0, 0), (before, before), (0, 0)))
            places = x_BTD.shape[1] + before
            seen = [padded[:, i : i + places] for i in range(h)]
            y_BPF = conv(jnp.concatenate(seen, axis=-1))
            # A window that begins after the text's last word sees nothing but padding.
            inside = jnp.arange(places) < text.length[:, None] + before
            y_BPF = jnp.where(inside[..., None], nnx.relu(y_BPF), 0)
            pooled.append(ops.max_along(y_BPF, 1))
        return self.head(self.dropout(jnp.concatenate(pooled, axis=-1), noise))
