"""Conversion of pixels to floating numbers, and back to the dtype of the image."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Batch = Mapping[str, jax.Array]

TIE = 2**-10
"""The margin of a rounding. A blend of whole numbers is often an exact half but for its last bit,
which depends on how XLA fuses the sum; without a margin, a pixel depends on the run's placement."""


def to_float(image: jax.Array) -> jax.Array:
    """Converts an image to float32, or to float64 where jax computes in float64."""
    return image.astype(jnp.promote_types(image.dtype, jnp.result_type(float)))


def to_dtype(image: jax.Array, dtype: Any) -> jax.Array:
    """Converts an image back to `dtype`: integers are rounded and clipped to the dtype's range.

    Halves are rounded up, as is what lies within `TIE` below one.
    """
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        image = jnp.clip(jnp.floor(image + (0.5 + TIE)), limits.min, limits.max)
    return image.astype(dtype)
