"""A plain convolutional network: blocks of convolution and pooling, then two dense layers."""

from typing import ClassVar, Literal

import jax
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate
from lepton_jax.errors import UserError
from lepton_jax.nn import ops
from lepton_jax.nn.layers import BatchNorm, Conv, Dropout, Linear
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, K outputs.


class ConvBlock(nnx.Module):
    """Convolution 3 x 3, normalisation if asked for, ReLU, max pool 2 x 2."""

    def __init__(self, cin: int, cout: int, padding: str, normalize: bool, rngs: nnx.Rngs):
        # A bias before BatchNorm has no effect: the mean is subtracted.
        self.conv = Conv(cin, cout, padding=padding, bias=not normalize, rngs=rngs)
        self.norm = BatchNorm(cout) if normalize else None

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        x_BHWC = self.conv(x_BHWC)
        if self.norm is not None:
            x_BHWC = self.norm(x_BHWC, noise)
        return ops.max_pool(nnx.relu(x_BHWC))


class CNN(nnx.Module):
    """A classifier of images `[B, H, W, C]`, to `outputs` logits.

    Raises:
      UserError: when the image is too small for a pooling per entry of `features`.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"(conv|hidden)\.kernel": ("fsdp",),
        r"head\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        features: tuple[PositiveInt, ...] = (32, 64),
        hidden: PositiveInt = 64,
        padding: Literal["SAME", "VALID"] = "SAME",
        normalize: bool = False,
        dropout: Rate = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (H, W, C).

        Keys:
          features: the channels of each block of convolution, ReLU and pooling.
          hidden: the units of the dense layer before the last one.
          padding: a convolution keeps the size of the image ('SAME'), or takes two pixels off its
            height and its width ('VALID').
          normalize: whether each convolution is followed by batch normalisation.
          dropout: the rate of dropout before the last layer.
        """
        height, width, channels = input_shape
        self.blocks: nnx.List[ConvBlock] = nnx.List()
        for number, cout in enumerate(features, 1):
            self.blocks.append(ConvBlock(channels, cout, padding, normalize, rngs))
            trim = 0 if padding == "SAME" else 2
            height, width, channels = (height - trim) // 2, (width - trim) // 2, cout
            if min(height, width) < 1:
                raise UserError(
                    f"model.features = {tuple(features)}: nothing is left of an image of "
                    f"{input_shape[0]} x {input_shape[1]} after block {number} with "
                    f"model.padding = {padding!r}. Give fewer features"
                    + (" or padding = 'SAME'" if trim else "")
                )
        self.hidden = Linear(height * width * channels, hidden, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.head = Linear(hidden, outputs, rngs=rngs)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`."""
        for block in self.blocks:
            x_BHWC = block(x_BHWC, noise)
        x_BD = nnx.relu(self.hidden(x_BHWC.reshape(x_BHWC.shape[0], -1)))
        return self.head(self.dropout(x_BD, noise))
