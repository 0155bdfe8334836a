"""LeNet-5 (LeCun et al. 1998, figure 2), for small images of digits and the like."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.nn import ops
from lepton_jax.nn.layers import Conv, Linear
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, K outputs.

SIDE = 32
"""Smaller images are zero-padded to this side: strokes then reach the middle of a window."""


class LeNet(nnx.Module):
    """A classifier of images `[B, H, W, C]`, to `outputs` logits; 61,706 parameters on MNIST.

    As in the paper: two convolutions 5 x 5 with 6 and 16 channels, each followed by pooling, then
    layers of 120, 84 and `outputs` units. As is usual since, four things differ: ReLU instead of
    the scaled tanh; max pooling instead of averages with trained coefficients; every channel of the
    second convolution sees all of the first (in the paper's table I some are left out); a linear
    output layer instead of radial basis functions.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {r"hidden\.\d\.kernel": ("fsdp", None)}

    def __init__(self, input_shape: tuple[int, ...], outputs: int, *, rngs: nnx.Rngs):
        *sides, channels = input_shape
        missing = [max(0, SIDE - side) for side in sides]
        self._pads = tuple((m // 2, m - m // 2) for m in missing)
        height, width = (((max(SIDE, side) - 4) // 2 - 4) // 2 for side in sides)
        self.convs = nnx.List(
            [
                Conv(channels, 6, kernel=5, padding="VALID", rngs=rngs),
                Conv(6, 16, kernel=5, padding="VALID", rngs=rngs),
            ]
        )
        self.hidden = nnx.List(
            [Linear(height * width * 16, 120, rngs=rngs), Linear(120, 84, rngs=rngs)]
        )
        self.head = Linear(84, outputs, rngs=rngs)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`; the same in training and evaluation."""
        x_BHWC = jnp.pad(x_BHWC, ((0, 0), *self._pads, (0, 0)))
        for conv in self.convs:
            x_BHWC = ops.max_pool(nnx.relu(conv(x_BHWC)))
        x_BD = x_BHWC.reshape(x_BHWC.shape[0], -1)
        for layer in self.hidden:
            x_BD = nnx.relu(layer(x_BD))
        return self.head(x_BD)
