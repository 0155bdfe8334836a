"""ResNet-9 for CIFAR: the network of the fast recipes, of nine layers with weights.

D. Page, How to train your ResNet 8: bag of tricks (2019), after the DAWNBench entries.
"""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lepton_jax import ops
from lepton_jax.models.layers import BatchNorm, Conv, Linear
from lepton_jax.noise import Noise
from lepton_jax.reduce import by_batch
from lepton_jax.schema import PositiveInt

# B batch, H height, W width, C channels, K outputs.

PATCH = 3
ALPHA = 0.3
"""Of CELU (Barron 2017): max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
LOGIT_SCALE = 0.125


class Whitening(nnx.Module):
    """The patch around each pixel, `[B, H, W, 9 C]`, uncorrelated and of variance 1. Nothing in it
    is trained.

    Page takes the eigenvectors of the covariance of the training data's patches. Those of natural
    images are close to cosines, in space and over red, green and blue, where they are brightness
    and opponent colours (Ruderman et al. 1998): so a fixed basis and running variances do, without
    a pass over the data. Page's epsilon holds down what is mostly noise.
    """

    def __init__(self, channels: int):
        self.norm = BatchNorm(PATCH * PATCH * channels, epsilon=1e-2, scale=False, bias=False)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        basis = jnp.asarray(cosines(x_BHWC.shape[-1]), x_BHWC.dtype)
        return self.norm(ops.conv2d(x_BHWC, basis), noise)


class ConvNorm(nnx.Module):
    """Convolution, max pool 2 x 2 if asked for, batch normalisation without a scale, CELU."""

    def __init__(self, cin: int, cout: int, *, kernel: int = 3, pool: bool = False, rngs: nnx.Rngs):
        self.conv = Conv(cin, cout, kernel=kernel, bias=False, rngs=rngs)
        self.norm = BatchNorm(cout, scale=False)
        self._pool = pool

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        x_BHWC = self.conv(by_batch(x_BHWC))
        if self._pool:  # before what is done to each entry: there are fewer of them after
            x_BHWC = ops.max_pool(x_BHWC)
        return nnx.celu(self.norm(x_BHWC, noise), ALPHA)


class Residual(nnx.Module):
    """x + F(x), F being two `ConvNorm`s."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.layers = nnx.List([ConvNorm(channels, channels, rngs=rngs) for _ in range(2)])

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        y_BHWC = x_BHWC
        for layer in self.layers:
            y_BHWC = layer(y_BHWC, noise)
        return x_BHWC + y_BHWC


class ResNet9(nnx.Module):
    """Images `[B, H, W, C]`, of standardised pixels, to `outputs` logits.

    Whitened patches, then `width` channels, doubled by each of three halvings of the image; a
    residual block after the first and after the last of them; the largest entry of each channel.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"conv\.kernel": ("fsdp",),
        r"head\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        width: PositiveInt = 64,
        rngs: nnx.Rngs,
    ):
        """`input_shape`: (H, W, C), 8 x 8 or larger."""
        channels = input_shape[-1]
        self.whitening = Whitening(channels)
        layers: list[nnx.Module] = [
            ConvNorm(PATCH * PATCH * channels, width, kernel=1, rngs=rngs),
            ConvNorm(width, 2 * width, pool=True, rngs=rngs),
            Residual(2 * width, rngs=rngs),
            ConvNorm(2 * width, 4 * width, pool=True, rngs=rngs),
            ConvNorm(4 * width, 8 * width, pool=True, rngs=rngs),
            Residual(8 * width, rngs=rngs),
        ]
        self.layers = nnx.List(layers)
        self.head = Linear(8 * width, outputs, use_bias=False, rngs=rngs)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Logits `[B, K]`; None for `noise` means evaluation."""
        x_BHWC = self.whitening(x_BHWC, noise)
        for layer in self.layers:
            x_BHWC = layer(x_BHWC, noise)
        return LOGIT_SCALE * self.head(x_BHWC.max((1, 2)))


@functools.cache
def cosines(channels: int) -> np.ndarray:
    """Kernels `[3, 3, C, 9 C]`: the orthonormal basis of patches that cosines make (DCT-II)."""

    def transform(size: int) -> np.ndarray:
        place, wave = np.arange(size) + 0.5, np.arange(size)[:, None]
        basis = np.cos(np.pi * wave * place / size)
        return basis / np.linalg.norm(basis, axis=1, keepdims=True)

    space, colour = transform(PATCH), transform(channels)
    basis = np.einsum("ah,bw,dc->hwcabd", space, space, colour)
    return basis.reshape(PATCH, PATCH, channels, -1)
