"""What tasks on texts have in common: the text of a batch, and what is counted of it."""

from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.nn.batch import Sums
from lepton_jax.nn.token_batch import TokenBatch

# B batch, T tokens.


def text_of(batch: Any, tokens: str = "tokens", length: str = "length") -> TokenBatch:
    """The text in these fields of a batch, with its `kinds` where there are some."""
    kinds = batch.get("kinds") if tokens == "tokens" else None
    return TokenBatch(batch[tokens].astype(jnp.int32), batch[length], kinds)


def padding(mask_B: jax.Array, *texts: TokenBatch) -> Sums:
    """`padding`: how many positions of the examples that count are padding, over all of them."""
    T = sum(text.tokens.shape[1] for text in texts)
    mask_B = mask_B.astype(jnp.float32)
    padded_B = T - sum(text.length.astype(jnp.float32) for text in texts)
    return {"padding": ((padded_B * mask_B).sum(), T * mask_B.sum())}


def was_cut(batch: Any) -> Sums:
    """`cut`: how many examples were longer than there is room for, where the data says so."""
    if "cut" not in batch:
        return {}
    mask_B = batch["mask"].astype(jnp.float32)
    return {"cut": ((batch["cut"] * mask_B).sum(), mask_B.sum())}
