"""A variational autoencoder for binary images (Kingma & Welling 2014, appendix C)."""

import math
from typing import ClassVar

import jax
from flax import nnx

from lepton_jax.config.schema import PositiveInt
from lepton_jax.nn.layers import Linear
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, Z latent, D features.


class VAE(nnx.Module):
    """A variational autoencoder of images.

    It is q(z | x), a diagonal Gaussian, and p(x | z), independent Bernoulli pixels.

    Each is an MLP with ReLU; the decoder has the encoder's widths in reverse order.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"(encoder|decoder)\.\d+\.kernel": ("fsdp",),
        r"(posterior|pixels)\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: tuple[int, ...],
        *,
        hidden: tuple[PositiveInt, ...] = (512, 256),
        latent: PositiveInt = 20,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` and `outputs` (H, W, C).

        Keys:
          hidden: the encoder's widths, from the image on; the decoder has them in reverse order.
          latent: the size Z of the latent vector.
        """
        self.latent = latent
        self.encoder, width = _layers(math.prod(input_shape), hidden, rngs)
        self.posterior = Linear(width, 2 * latent, rngs=rngs)
        self.decoder, width = _layers(latent, hidden[::-1], rngs)
        self.pixels = Linear(width, math.prod(outputs), rngs=rngs)
        self._shape = tuple(outputs)

    def encode(self, x_BHWC: jax.Array, noise: Noise | None = None) -> tuple[jax.Array, jax.Array]:
        """Computes the mean and the log-variance of q(z | x), `[B, Z]` each."""
        x_BD = x_BHWC.reshape(x_BHWC.shape[0], -1)
        for layer in self.encoder:
            x_BD = nnx.relu(layer(x_BD))
        both_BZ = self.posterior(x_BD)
        return both_BZ[:, : self.latent], both_BZ[:, self.latent :]

    def decode(self, z_BZ: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes the logits of p(x | z), `[B, H, W, C]`."""
        x_BD = z_BZ
        for layer in self.decoder:
            x_BD = nnx.relu(layer(x_BD))
        return self.pixels(x_BD).reshape(z_BZ.shape[0], *self._shape)


def _layers(size: int, widths: tuple[int, ...], rngs: nnx.Rngs) -> tuple[nnx.List, int]:
    """Makes linear layers of these widths; returns them and the width of their output."""
    layers: nnx.List[nnx.Module] = nnx.List()
    for width in widths:
        layers.append(Linear(size, width, rngs=rngs))
        size = width
    return layers, size
