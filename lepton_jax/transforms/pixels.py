"""Conversion of pixels to floating numbers, and back to the dtype of the image."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Batch = Mapping[str, jax.Array]


def to_float(image: jax.Array) -> jax.Array:
    """Converts an image to float32, or to float64 where jax computes in float64."""
    return image.astype(jnp.promote_types(image.dtype, jnp.result_type(float)))


def to_dtype(image: jax.Array, dtype: Any) -> jax.Array:
    """Converts an image back to `dtype`: integers are rounded and clipped to the dtype's range."""
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        image = jnp.clip(jnp.round(image), limits.min, limits.max)
    return image.astype(dtype)
