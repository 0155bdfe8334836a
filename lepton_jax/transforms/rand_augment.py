"""RandAugment (Cubuk et al. 2020): a few of fourteen operations, drawn for each image.

A choice among fourteen for every image of a batch would compute all fourteen. They are of three
kinds: an affine map of the pixels, a blend with a duller image, and a lookup table of values. Each
kind is computed once; where another kind was drawn its parameters make it the identity.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import HYPER, PositiveInt
from lepton_jax.errors import UserError
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.colour import blend_images, grey_image, mean_grey
from lepton_jax.transforms.pixels import Batch, to_dtype, to_float

# B batch, H height, W width, C channels.

OPERATIONS = (
    "identity",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "brightness",
    "contrast",
    "colour",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
FILL = 128
"""Value of pixels that come from outside of the image."""


def rand_augment(
    batch: Batch,
    noise: Noise | None,
    *,
    operations: PositiveInt = 2,
    magnitude: Annotated[float, HYPER, "in [0, 10]"] = 9.0,
) -> Batch:
    """Applies `operations` random operations to each image, of strength `magnitude` in [0, 10].

    At 10: rotation by 30 degrees, shear by 0.3, translation by 0.45 of the side, blending by a
    factor of 1 +- 0.9, 4 bits a channel, all pixels solarized. The sign is random. Identity,
    autocontrast and equalize have no strength.

    Keys:
      operations: the number of operations on an image.
      magnitude: the strength of each operation, from 0 to 10.

    Raises:
      UserError: for images that are not uint8, or that have boxes.
    """
    if noise is None:
        return batch
    if "boxes" in batch:
        raise UserError(
            "rand_augment turns and shears images, and boxes cannot follow; for images with boxes "
            "use flip, pad_crop, zoom, random_resized_crop or the colour transforms"
        )
    if batch["image"].dtype != jnp.uint8:
        raise UserError(
            f"rand_augment works on uint8 images, got {batch['image'].dtype}: the tables of its "
            "operations are over 256 values"
        )

    def one(image_HWC: jax.Array, key: jax.Array) -> jax.Array:
        operation_key, sign_key = jax.random.split(key)
        operation = jax.random.randint(operation_key, (), 0, len(OPERATIONS))
        sign = jnp.where(jax.random.bernoulli(sign_key), 1.0, -1.0)
        return apply_operation(image_HWC, operation, sign, magnitude)

    image_BHWC = batch["image"]
    for _ in range(operations):
        image_BHWC = jax.vmap(one)(image_BHWC, noise())
    return {**batch, "image": image_BHWC}


def apply_operation(
    image_HWC: jax.Array, operation: jax.Array, sign: jax.Array, magnitude: float | jax.Array
) -> jax.Array:
    """Applies one operation, given by its index in `OPERATIONS`, to a uint8 image [H, W, C]."""
    strength = magnitude / 10
    is_ = {name: operation == i for i, name in enumerate(OPERATIONS)}
    image_HWC = _map_affine(image_HWC, is_, sign * strength)
    image_HWC = _blend(image_HWC, is_, 1 + 0.9 * sign * strength)
    return _look_up(image_HWC, is_, strength)


def _map_affine(image_HWC: jax.Array, is_: dict[str, jax.Array], by: jax.Array) -> jax.Array:
    """Moves pixels by an affine map: each takes the nearest pixel to its inverse image."""
    height, width = image_HWC.shape[:2]
    angle = jnp.where(is_["rotate"], by, 0) * jnp.pi / 6
    shear_x, shear_y = (jnp.where(is_[n], by, 0) * 0.3 for n in ("shear_x", "shear_y"))
    shift_x = jnp.where(is_["translate_x"], by, 0) * 0.45 * width
    shift_y = jnp.where(is_["translate_y"], by, 0) * 0.45 * height
    y, x = jnp.arange(height)[:, None] + 0.5, jnp.arange(width)[None, :] + 0.5
    dy, dx = y - height / 2, x - width / 2
    from_x = jnp.cos(angle) * dx - jnp.sin(angle) * dy + width / 2 + shear_x * y + shift_x
    from_y = jnp.sin(angle) * dx + jnp.cos(angle) * dy + height / 2 + shear_y * x + shift_y
    moved = is_["rotate"] | is_["shear_x"] | is_["shear_y"]
    moved |= is_["translate_x"] | is_["translate_y"]
    column, row = jnp.floor(from_x).astype(jnp.int32), jnp.floor(from_y).astype(jnp.int32)
    column = jnp.where(moved, column, jnp.arange(width)[None, :])
    row = jnp.where(moved, row, jnp.arange(height)[:, None])
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    mapped_HWC = image_HWC[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
    return jnp.where(inside[..., None], mapped_HWC, jnp.uint8(FILL))


def _blend(image_HWC: jax.Array, is_: dict[str, jax.Array], factor: jax.Array) -> jax.Array:
    x_HWC = to_float(image_HWC)
    duller_HWC = jnp.zeros_like(x_HWC)
    duller_HWC = jnp.where(is_["contrast"], mean_grey(x_HWC), duller_HWC)
    duller_HWC = jnp.where(is_["colour"], grey_image(x_HWC), duller_HWC)
    duller_HWC = jnp.where(is_["sharpness"], _smooth(x_HWC), duller_HWC)
    chosen = is_["brightness"] | is_["contrast"] | is_["colour"] | is_["sharpness"]
    out_HWC = to_dtype(blend_images(x_HWC, duller_HWC, factor.astype(x_HWC.dtype)), image_HWC.dtype)
    return jnp.where(chosen, out_HWC, image_HWC)


def _smooth(x_HWC: jax.Array) -> jax.Array:
    """Averages each pixel (weight 5) with its eight neighbours (weight 1); the border stays."""
    height, width = x_HWC.shape[:2]
    if min(height, width) < 3:
        return x_HWC
    total = 4 * x_HWC[1:-1, 1:-1]
    for i in range(3):
        for j in range(3):
            total += x_HWC[i : height - 2 + i, j : width - 2 + j]
    return x_HWC.at[1:-1, 1:-1].set(total / 13)


def _look_up(
    image_HWC: jax.Array, is_: dict[str, jax.Array], strength: float | jax.Array
) -> jax.Array:
    """Maps the values of each channel by a lookup table of 256 values."""
    height, width, channels = image_HWC.shape
    value = jnp.arange(256)
    dropped = jnp.round(4 * jnp.asarray(strength)).astype(jnp.int32)
    posterized = jnp.left_shift(jnp.right_shift(value, dropped), dropped)
    solarized = jnp.where(value < 256 * (1 - strength), value, 255 - value)
    pixels_CN = image_HWC.reshape(-1, channels).T.astype(jnp.int32)
    table_CV = jnp.broadcast_to(value, (channels, 256))
    table_CV = jnp.where(is_["posterize"], posterized, table_CV)
    table_CV = jnp.where(is_["solarize"], solarized, table_CV)
    table_CV = jnp.where(is_["autocontrast"], jax.vmap(_stretched)(pixels_CN), table_CV)
    table_CV = jnp.where(is_["equalize"], jax.vmap(_equalized)(pixels_CN), table_CV)
    out_CN = jnp.take_along_axis(table_CV, pixels_CN, axis=1)
    return out_CN.T.reshape(height, width, channels).astype(image_HWC.dtype)


def _stretched(pixels_N: jax.Array) -> jax.Array:
    """Returns the table [256] that maps a channel's least value to 0 and its greatest to 255."""
    low, high = pixels_N.min(), pixels_N.max()
    value = jnp.arange(256)
    # In whole numbers, rounded down, as PIL's table is.
    table_V = jnp.clip((value - low) * 255 // jnp.maximum(high - low, 1), 0, 255)
    return jnp.where(high > low, table_V, value)


def _equalized(pixels_N: jax.Array) -> jax.Array:
    """Returns the table [256] that makes a channel's histogram as flat as it can be."""
    count_V = jnp.zeros(256, jnp.int32).at[pixels_N].add(1)
    last = count_V[pixels_N.max()]
    step = (len(pixels_N) - last) // 255
    before_V = jnp.cumsum(count_V) - count_V
    table_V = jnp.clip((step // 2 + before_V) // jnp.maximum(step, 1), 0, 255)
    return jnp.where(step > 0, table_V, jnp.arange(256))
