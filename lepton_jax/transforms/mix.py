"""Mixing of examples: mixup and cutmix, with the labels of the mixed images.

The partner of an example is the next one in the global batch (`collectives.next_example`). As each
epoch has a new random order, it may be any other example; it does not depend on how the batch is
sharded. With `accumulate` the partner is the next example of the microbatch. An example whose
partner is padding (mask 0) is not mixed.

The batch gains `mixed_label` int32 [B, M] and `mixed_share` [B, M]: image b shows the class
`mixed_label[b, m]` for a share of `mixed_share[b, m]`, and its shares sum to 1. A second mixing
doubles M, so mixings may be chained. `label` does not change.
"""

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import Probability, Strength, is_off
from lepton_jax.errors import UserError
from lepton_jax.nn.collectives import next_example
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.pixels import Batch, to_dtype, to_float

# B batch, H height, W width, C channels, M labels of a mixed image.


def mixup(
    batch: Batch, noise: Noise | None, *, alpha: Strength, probability: Probability = 1.0
) -> Batch:
    """Mixes each image with its partner: share * image + (1 - share) * partner.

    share ~ Beta(alpha, alpha) (Zhang et al. 2018).

    Keys:
      alpha: the parameter of Beta(alpha, alpha), from which the share is drawn; 0.0: off.
      probability: the probability that an example is mixed at all.
    """
    if noise is None or is_off(alpha):
        return batch
    share_B, _ = _shares(batch, noise, alpha, probability)
    image_BHWC = to_float(batch["image"])
    partner_BHWC = to_float(next_example(batch["image"]))
    share = share_B[:, None, None, None].astype(image_BHWC.dtype)
    mixed_BHWC = share * image_BHWC + (1 - share) * partner_BHWC
    image = to_dtype(mixed_BHWC, batch["image"].dtype)
    return {**batch, "image": image, **_labels(batch, share_B)}


def cutmix(
    batch: Batch, noise: Noise | None, *, alpha: Strength, probability: Probability = 1.0
) -> Batch:
    """Replaces a box of each image by the same box of its partner (Yun et al. 2019).

    The box has the image's aspect ratio and 1 - share of its area, share ~ Beta(alpha, alpha). Its
    centre is a random pixel; only the part inside the image counts.

    Keys:
      alpha: the parameter of Beta(alpha, alpha), from which the share is drawn; 0.0: off.
      probability: the probability that an example is mixed at all.
    """
    if noise is None or is_off(alpha):
        return batch
    share_B, keys_B = _shares(batch, noise, alpha, probability)
    height, width = batch["image"].shape[1:3]

    def inside(key: jax.Array, length: int, share: jax.Array) -> jax.Array:
        half = jnp.floor(length * jnp.sqrt(1 - share)).astype(jnp.int32) // 2
        centre = jax.random.randint(key, (), 0, length)
        offset = jnp.arange(length) - centre
        return (offset >= -half) & (offset < half)

    def box(key: jax.Array, share: jax.Array) -> jax.Array:
        row_key, column_key = jax.random.split(key)
        return inside(row_key, height, share)[:, None] & inside(column_key, width, share)[None]

    cut_BHW = jax.vmap(box)(keys_B, share_B)
    image = jnp.where(cut_BHW[..., None], next_example(batch["image"]), batch["image"])
    kept_B = 1 - cut_BHW.mean((1, 2), dtype=share_B.dtype)
    return {**batch, "image": image, **_labels(batch, kept_B)}


def _shares(
    batch: Batch, noise: Noise, alpha: float | jax.Array, probability: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws each example's share of itself in the mixed image [B], and a fresh key for each [B]."""

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        share_key, chosen_key, fresh = jax.random.split(key, 3)
        share = jax.random.beta(share_key, alpha, alpha)
        chosen = jax.random.uniform(chosen_key) < probability
        return jnp.where(chosen, share, 1), fresh

    share_B, keys_B = jax.vmap(one)(noise())
    if "mask" in batch:
        share_B = jnp.where(next_example(batch["mask"]) > 0, share_B, 1)
    return share_B, keys_B


def _labels(batch: Batch, share_B: jax.Array) -> dict[str, jax.Array]:
    if "label" not in batch:
        raise UserError(
            "data.augment: mixup and cutmix mix labels, and the data has no field 'label'; it has "
            + ", ".join(sorted(name for name in batch if name not in ("mask", "position")))
        )
    label_BM = batch.get("mixed_label", batch["label"][:, None])
    share_BM = batch.get("mixed_share", jnp.ones(label_BM.shape, share_B.dtype))
    share_B1 = share_B[:, None]
    others_BM = (1 - share_B1) * next_example(share_BM)
    return {
        "mixed_label": jnp.concatenate([label_BM, next_example(label_BM)], axis=1),
        "mixed_share": jnp.concatenate([share_B1 * share_BM, others_BM], axis=1),
    }
