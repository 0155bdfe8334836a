"""Residual networks (He et al. 2015), for ImageNet and for CIFAR."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt
from lepton_jax.nn import ops
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import BatchNorm, Conv, Linear
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, K outputs.

EXPANSION = 4
"""A bottleneck's outputs per channel of its 3 x 3 convolution."""


class ResNetConv(nnx.Module):
    """Convolution without bias, padded by half its window, and batch normalisation."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, *, rngs: nnx.Rngs):
        pad = (kernel // 2, kernel // 2)
        self.conv = Conv(
            cin,
            cout,
            kernel=kernel,
            stride=stride,
            padding=(pad, pad),
            bias=False,
            init=nnx.initializers.he_normal(),
            rngs=rngs,
        )
        self.norm = BatchNorm(cout)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        return self.norm(self.conv(x_BHWC), noise)


class ResNetBlock(nnx.Module):
    """relu(shortcut(x) + F(x)); F is two 3 x 3 convolutions, or a bottleneck of 1, 3, 1.

    A bottleneck's stride is in its 3 x 3 convolution ('v1.5'). The shortcut is the identity where
    shapes allow, else a 1 x 1 projection (option B of the paper).
    """

    def __init__(
        self,
        cin: int,
        width: int,
        stride: int,
        *,
        bottleneck: bool,
        zero_residual: bool,
        rngs: nnx.Rngs,
    ):
        shapes = [(3, width, stride), (3, width, 1)]
        if bottleneck:
            shapes = [(1, width, 1), (3, width, stride), (1, EXPANSION * width, 1)]
        channels = cin
        self.layers: nnx.List[ResNetConv] = nnx.List()
        for kernel, cout, step in shapes:
            self.layers.append(ResNetConv(channels, cout, kernel, step, rngs=rngs))
            channels = cout
        if zero_residual:
            self.layers[-1].norm.scale = nnx.Param(jnp.zeros(channels))
        same = cin == channels and stride == 1
        self.projection = None if same else ResNetConv(cin, channels, 1, stride, rngs=rngs)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        x_BHWC = shard_by_batch(x_BHWC)
        y_BHWC = x_BHWC
        for number, layer in enumerate(self.layers):
            y_BHWC = layer(nnx.relu(y_BHWC) if number else y_BHWC, noise)
        if self.projection is not None:
            x_BHWC = self.projection(x_BHWC, noise)
        return nnx.relu(x_BHWC + y_BHWC)


class ResNet(nnx.Module):
    """A classifier of images `[B, H, W, C]`, to `outputs` logits. He-normal convolutions.

    ResNet-18: the defaults. ResNet-50: `blocks=(3, 4, 6, 3), bottleneck=True`. ResNet-20 for CIFAR:
    `blocks=(3, 3, 3), width=16, stem='cifar'`.
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
        blocks: tuple[PositiveInt, ...] = (2, 2, 2, 2),
        bottleneck: bool = False,
        width: PositiveInt = 64,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        zero_residual: bool = False,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (H, W, C).

        Keys:
          blocks: the number of blocks of each stage.
          bottleneck: whether a block is convolutions of 1 x 1, 3 x 3 and 1 x 1, with four times as
            many channels at its end, instead of two of 3 x 3.
          width: the channels of the first stage; each later one halves the image and doubles the
            channels.
          stem: a 7 x 7 convolution with stride 2 and a pool ('imagenet'), or a 3 x 3 convolution
            ('cifar').
          zero_residual: whether each block is initialised as its shortcut (Goyal et al. 2017, 5.1).
        """
        kernel, stride = (7, 2) if stem == "imagenet" else (3, 1)
        self.stem = ResNetConv(input_shape[-1], width, kernel, stride, rngs=rngs)
        self.blocks: nnx.List[ResNetBlock] = nnx.List()
        cin = width
        for stage, count in enumerate(blocks):
            inner = width * 2**stage
            for number in range(count):
                self.blocks.append(
                    ResNetBlock(
                        cin,
                        inner,
                        2 if stage and not number else 1,
                        bottleneck=bottleneck,
                        zero_residual=zero_residual,
                        rngs=rngs,
                    )
                )
                cin = inner * (EXPANSION if bottleneck else 1)
        self.head = Linear(cin, outputs, rngs=rngs)
        self._pool = stem == "imagenet"

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`."""
        x_BHWC = nnx.relu(self.stem(x_BHWC, noise))
        if self._pool:
            x_BHWC = ops.max_pool(x_BHWC, 3, stride=2, padding=((1, 1), (1, 1)))
        for block in self.blocks:
            x_BHWC = block(x_BHWC, noise)
        return self.head(ops.global_avg_pool(x_BHWC))
