"""GoogLeNet, Inception v1 (Szegedy et al. 2014, Going deeper with convolutions, table 1)."""

from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import Rate, Strength, is_off
from lepton_jax.nn import ops
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import BatchNorm, Conv, Dropout, HyperVariable, Linear
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, D features, K outputs.


class Widths(NamedTuple):
    """Channels of an inception block, named as in the paper's table 1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int


BLOCKS = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
HALVED_BEFORE = ("4a", "5a")
AUXILIARY_AFTER = ("4a", "4d")


class ConvRelu(nnx.Module):
    """Convolution, batch normalisation if asked for, ReLU. He-normal: the paper does not say."""

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int,
        *,
        stride: int = 1,
        normalize: bool,
        rngs: nnx.Rngs,
    ):
        self.conv = Conv(
            cin,
            cout,
            kernel=kernel,
            stride=stride,
            bias=not normalize,
            init=nnx.initializers.he_normal(),
            rngs=rngs,
        )
        self.norm = BatchNorm(cout) if normalize else None

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        x_BHWC = self.conv(x_BHWC)
        return nnx.relu(x_BHWC if self.norm is None else self.norm(x_BHWC, noise))


class Inception(nnx.Module):
    """Four branches on the same input, concatenated (figure 2b): 1 x 1; 1 x 1 then 3 x 3; 1 x 1
    then 5 x 5; max pool 3 x 3 then 1 x 1."""

    def __init__(self, cin: int, widths: Widths, *, normalize: bool, rngs: nnx.Rngs):
        def conv(cin: int, cout: int, kernel: int) -> ConvRelu:
            return ConvRelu(cin, cout, kernel, normalize=normalize, rngs=rngs)

        self.one = conv(cin, widths.one, 1)
        self.three_reduce = conv(cin, widths.three_reduce, 1)
        self.three = conv(widths.three_reduce, widths.three, 3)
        self.five_reduce = conv(cin, widths.five_reduce, 1)
        self.five = conv(widths.five_reduce, widths.five, 5)
        self.pool = conv(cin, widths.pool, 1)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        x_BHWC = shard_by_batch(x_BHWC)
        branches = [
            self.one(x_BHWC, noise),
            self.three(self.three_reduce(x_BHWC, noise), noise),
            self.five(self.five_reduce(x_BHWC, noise), noise),
            self.pool(ops.max_pool(x_BHWC, 3, stride=1, padding="SAME"), noise),
        ]
        return jnp.concatenate(branches, axis=-1)


class Auxiliary(nnx.Module):
    """An auxiliary classifier: average pool 5 x 5 with stride 3 (not below 5 x 5 pixels), a 1 x 1
    convolution to 128 channels, 1,024 units, dropout 0.7. `weight`: the weight of its loss."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        weight: float | jax.Array,
        rngs: nnx.Rngs,
    ):
        height, width, channels = shape
        self._pool = min(height, width) >= 5
        if self._pool:
            height, width = (height - 5) // 3 + 1, (width - 5) // 3 + 1
        self.conv = Conv(channels, 128, kernel=1, init=nnx.initializers.he_normal(), rngs=rngs)
        self.hidden = Linear(height * width * 128, 1024, rngs=rngs)
        self.dropout = Dropout(0.7)
        self.head = Linear(1024, outputs, rngs=rngs)
        self.weight = HyperVariable(jnp.asarray(weight))

    def __call__(self, x_BHWC: jax.Array, noise: Noise) -> tuple[jax.Array, jax.Array]:
        """Returns the weight [] of the loss, and logits `[B, K]`."""
        if self._pool:
            x_BHWC = ops.avg_pool(x_BHWC, 5, stride=3)
        x_BHWC = nnx.relu(self.conv(x_BHWC))
        x_BD = nnx.relu(self.hidden(x_BHWC.reshape(x_BHWC.shape[0], -1)))
        logits_BK = self.head(self.dropout(x_BD, noise))
        return self.weight[...].astype(logits_BK.dtype), logits_BK


class GoogLeNet(nnx.Module):
    """A classifier of images `[B, H, W, C]`, to `outputs` logits: nine inception blocks."""

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"conv\.kernel": ("fsdp",),
        r"(head|hidden)\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        normalize: bool = False,
        auxiliary: Strength = 0.3,
        dropout: Rate = 0.4,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (H, W, C).

        Keys:
          stem: the first convolution is 7 x 7 with stride 2 ('imagenet'), and inception begins at
            an eighth of the image; or it is 3 x 3 with stride 1 ('cifar'), and inception begins at
            a fourth.
          normalize: batch normalisation after every convolution (Ioffe & Szegedy 2015) instead of
            the two local response normalisations.
          auxiliary: the weight of the losses of the two auxiliary classifiers; 0.0 removes them.
          dropout: the rate of dropout before the last layer.
        """

        def conv(cin: int, cout: int, kernel: int, stride: int = 1) -> ConvRelu:
            return ConvRelu(cin, cout, kernel, stride=stride, normalize=normalize, rngs=rngs)

        height, width, channels = input_shape
        stride = 2 if stem == "imagenet" else 1
        self.stem = nnx.List(
            [
                conv(channels, 64, 7 if stem == "imagenet" else 3, stride),
                conv(64, 64, 1),
                conv(64, 192, 3),
            ]
        )
        for step in (stride, 2, 2):
            height, width = -(-height // step), -(-width // step)
        self.blocks: nnx.Dict[Inception] = nnx.Dict()
        self.auxiliary: nnx.Dict[Auxiliary] = nnx.Dict()
        channels = 192
        for name, widths in BLOCKS.items():
            if name in HALVED_BEFORE:
                height, width = -(-height // 2), -(-width // 2)
            self.blocks[name] = Inception(channels, widths, normalize=normalize, rngs=rngs)
            channels = widths.one + widths.three + widths.five + widths.pool
            if name in AUXILIARY_AFTER and not is_off(auxiliary):
                shape = (height, width, channels)
                self.auxiliary[name] = Auxiliary(shape, outputs, weight=auxiliary, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.head = Linear(channels, outputs, rngs=rngs)
        self._normalize = normalize

    def __call__(
        self, x_BHWC: jax.Array, noise: Noise | None = None
    ) -> jax.Array | tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
        """Computes logits `[B, K]`.

        In training with auxiliary classifiers: returns the logits, and a pair (weight [], logits
        [B, K]) for each auxiliary classifier.
        """
        x_BHWC = halve_image(self.stem[0](x_BHWC, noise))
        x_BHWC = self._response_norm(x_BHWC)
        x_BHWC = self.stem[2](self.stem[1](x_BHWC, noise), noise)
        x_BHWC = halve_image(self._response_norm(x_BHWC))
        others = []
        for name, block in self.blocks.items():
            x_BHWC = block(halve_image(x_BHWC) if name in HALVED_BEFORE else x_BHWC, noise)
            if noise is not None and name in self.auxiliary:
                others.append(self.auxiliary[name](x_BHWC, noise))
        logits_BK = self.head(self.dropout(ops.global_avg_pool(x_BHWC), noise))
        return (logits_BK, others) if others else logits_BK

    def _response_norm(self, x_BHWC: jax.Array) -> jax.Array:
        return x_BHWC if self._normalize else local_response_norm(x_BHWC)


def halve_image(x_BHWC: jax.Array) -> jax.Array:
    """Applies a max pool 3 x 3 with stride 2: `[B, H / 2, W / 2, C]`, rounded up."""
    return ops.max_pool(x_BHWC, 3, stride=2, padding="SAME")


def local_response_norm(x_BHWC: jax.Array) -> jax.Array:
    """Computes x / (2 + 1e-4 s)^0.75, s the sum of squares over the five channels around each.

    The formula and its numbers are those of Krizhevsky et al. (2012), section 3.3.
    """
    wide = x_BHWC.astype(jnp.promote_types(x_BHWC.dtype, jnp.float32))
    padded = jnp.pad(jnp.square(wide), ((0, 0), (0, 0), (0, 0), (2, 2)))
    C = x_BHWC.shape[-1]
    total = sum(padded[..., i : i + C] for i in range(5))
    return (wide / (2 + 1e-4 * total) ** 0.75).astype(x_BHWC.dtype)
