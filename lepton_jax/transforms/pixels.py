"""Pixels as numbers to compute with, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Batch = Mapping[str, jax.Array]


def as_float(image: jax.Array) -> jax.Array:
    """In float32, or in float64 where that is what is computed in."""
    return image.astype(jnp.promote_types(image.dtype, jnp.result_type(float)))


def as_given(image: jax.Array, dtype: Any) -> jax.Array:
    """Back in the image's own dtype: whole numbers are rounded and kept in its range."""
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        image = jnp.clip(jnp.round(image), limits.min, limits.max)
    return image.astype(dtype)
