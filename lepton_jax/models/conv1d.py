"""A convolutional network over time: strided convolutions, then a linear layer."""

from typing import ClassVar

import jax
from flax import nnx

from lepton_jax.config.schema import PositiveInt
from lepton_jax.errors import UserError
from lepton_jax.nn.layers import Conv, fan_in_uniform, uniform_linear
from lepton_jax.nn.rng import Noise

# B batch, T steps of time, C channels, K outputs.

STRIDE = 2
PADDING = 1


class Conv1D(nnx.Module):
    """A classifier of signals `[B, T]` or `[B, T, C]`, to `outputs` logits.

    The defaults are the CNN of Greydanus & Kobak (2024): three convolutions with ReLU, each with
    stride 2 and one zero of padding at either end, then a linear layer on all their outputs.

    Raises:
      UserError: when `kernels` and `features` differ in length, or the signal is too short.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {r"head\.kernel": ("fsdp", None)}

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        features: tuple[PositiveInt, ...] = (25, 25, 25),
        kernels: tuple[PositiveInt, ...] = (5, 3, 3),
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (T,) or (T, C).

        Keys:
          features: the channels of each convolution.
          kernels: the width of each convolution, in steps of time.
        """
        if len(features) != len(kernels):
            raise UserError(
                f"model.features names {len(features)} convolutions, model.kernels {len(kernels)}"
            )
        length, *rest = input_shape
        channels = rest[0] if rest else 1
        self.convs: nnx.List[Conv] = nnx.List()
        for number, (cout, kernel) in enumerate(zip(features, kernels, strict=True), 1):
            length = (length + 2 * PADDING - kernel) // STRIDE + 1
            if length < 1:
                raise UserError(
                    f"model.kernels = {tuple(kernels)}: nothing is left of a signal of "
                    f"{input_shape[0]} steps after convolution {number}. Give fewer"
                )
            self.convs.append(
                Conv(
                    channels,
                    cout,
                    kernel=(1, kernel),
                    stride=(1, STRIDE),
                    padding=((0, 0), (PADDING, PADDING)),
                    init=fan_in_uniform(kernel * channels),
                    rngs=rngs,
                )
            )
            channels = cout
        size = length * channels
        self.head = uniform_linear(size, outputs, fan_in=size, rngs=rngs)

    def __call__(self, x: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`; the same in training and evaluation."""
        x_B1TC = x.reshape(x.shape[0], 1, x.shape[1], -1)
        for conv in self.convs:
            x_B1TC = nnx.relu(conv(x_B1TC))
        return self.head(x_B1TC.reshape(x.shape[0], -1))
