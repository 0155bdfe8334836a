"""Mixing of examples: mixup and cutmix, and the labels of what comes out.

The partner of an example is the next one in the global batch: as each epoch is a new random order,
that is any other example, and it is the same one wherever the batch lies (`reduce.next_example`).
With `accumulate` it is the next one of the same microbatch, as BatchNorm's statistics are. Next to
a padded example (mask 0) an example stays as it is.

The batch gains `mixed_label` int32 [B, M] and `mixed_share` [B, M]: image b shows the class
`mixed_label[b, m]` for a share of `mixed_share[b, m]`, and its shares sum to 1. A further mixing
doubles M, so that mixings may follow one another. `label` stays the example's own.
"""

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import Probability, Strength, is_off
from lepton_jax.errors import UserError
from lepton_jax.nn.collectives import next_example
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.pixels import Batch, as_float, as_given

# B batch, H height, W width, C channels, M labels of a mixed image.


def mixup(
    batch: Batch, noise: Noise | None, *, alpha: Strength, probability: Probability = 1.0
) -> Batch:
    """share * image + (1 - share) * partner, share ~ Beta(alpha, alpha) (Zhang et al. 2018).

    `probability`: of an example to be mixed at all.
    """
    if noise is None or is_off(alpha):
        return batch
    share_B, _ = _shares(batch, noise, alpha, probability)
    image_BHWC = as_float(batch["image"])
    partner_BHWC = as_float(next_example(batch["image"]))
    own = share_B[:, None, None, None].astype(image_BHWC.dtype)
    mixed_BHWC = own * image_BHWC + (1 - own) * partner_BHWC
    image = as_given(mixed_BHWC, batch["image"].dtype)
    return {**batch, "image": image, **_labels(batch, share_B)}


def cutmix(
    batch: Batch, noise: Noise | None, *, alpha: Strength, probability: Probability = 1.0
) -> Batch:
    """A box of the partner takes the place of the image's own pixels (Yun et al. 2019).

    The box has the image's shape and 1 - share of its area, share ~ Beta(alpha, alpha), and lies
    around a random pixel; where it reaches over the border, less of it counts. `probability`: of
    an example to be mixed at all.
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
    """How much of itself each example keeps [B], and a fresh key for each [B]."""

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
    own_B1 = share_B[:, None]
    others_BM = (1 - own_B1) * next_example(share_BM)
    return {
        "mixed_label": jnp.concatenate([label_BM, next_example(label_BM)], axis=1),
        "mixed_share": jnp.concatenate([own_B1 * share_BM, others_BM], axis=1),
    }
