"""The input of models of text: a batch of tokenized texts."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

# B batch, T tokens.


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TokenBatch:
    """A batch of texts: `tokens` int32 [B, T], of which the first `length` int32 [B] count.

    `kinds` int32 [B, T] is 0 in the first sentence of a pair, 1 in the second; None without pairs.
    """

    tokens: jax.Array
    length: jax.Array
    kinds: jax.Array | None = None

    def counts(self) -> jax.Array:
        """Returns the mask of the tokens that count: bool [B, T], False for padding."""
        return jnp.arange(self.tokens.shape[1]) < self.length[:, None]
