"""What tasks on texts have in common: the text of a batch, and what is counted of it."""

import jax
import jax.numpy as jnp

from lepton_jax.nn.batch import Batch, Sums
from lepton_jax.nn.token_batch import TokenBatch

# B batch, T tokens.


def select_text(batch: Batch, tokens: str = "tokens", length: str = "length") -> TokenBatch:
    """Returns the text in these fields of a batch, with its `kinds` where there are some."""
    kinds = batch.get("kinds") if tokens == "tokens" else None
    return TokenBatch(batch[tokens].astype(jnp.int32), batch[length], kinds)


def count_padding(mask_B: jax.Array, *texts: TokenBatch) -> Sums:
    """Counts padding: `padding`, its positions in the examples that count, over all positions."""
    T = sum(text.tokens.shape[1] for text in texts)
    mask_B = mask_B.astype(jnp.float32)
    padded_B = T - sum(text.length.astype(jnp.float32) for text in texts)
    return {"padding": ((padded_B * mask_B).sum(), T * mask_B.sum())}


def count_cut(batch: Batch) -> Sums:
    """Counts the examples that were cut to fit, as `cut`, where the data says which were."""
    if "cut" not in batch:
        return {}
    mask_B = batch["mask"].astype(jnp.float32)
    return {"cut": ((batch["cut"] * mask_B).sum(), mask_B.sum())}
