"""Images of random pixels, and the noise of a step for each of them."""

import jax.numpy as jnp
import numpy as np

from lepton_jax.nn.rng import Noise, example_keys

B, H, W, C = 64, 7, 9, 3
IMAGES = np.random.default_rng(0).integers(1, 256, (B, H, W, C), dtype=np.uint8)
LABELS = np.arange(B, dtype=np.int32)


def batch(index=None):
    """Makes the batch of these examples, by default of all."""
    index = np.arange(B) if index is None else index
    return {"image": jnp.asarray(IMAGES[index]), "label": jnp.asarray(LABELS[index])}


def noise(index=None):
    """Makes the noise of these examples, by default of all."""
    index = np.arange(B) if index is None else index
    return Noise(example_keys(jnp.uint32(1), jnp.int32(2), jnp.asarray(index)))
