"""FCOS: fully convolutional one-stage object detection (Tian et al. 2019), on one level."""

import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt
from lepton_jax.errors import UserError
from lepton_jax.models.resnet import ResNetBlock, ResNetConv
from lepton_jax.nn import ops
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import Conv
from lepton_jax.nn.rng import Noise

# B batch, H height, W width, C channels, h x w locations, K outputs.

STRIDE = 8
"""Pixels between two locations."""

PRIOR = 0.01
"""The probability of every class before training (Lin et al. 2017, 4.1). Without it the loss of the
many empty locations dominates at first."""


class Maps(NamedTuple):
    """Predictions at each location, the middle of a square of STRIDE x STRIDE pixels."""

    classes: jax.Array
    """Logits [B, h, w, K]."""
    sides: jax.Array
    """Pixels from the location to the top, left, bottom and right of its object [B, h, w, 4]."""
    centerness: jax.Array
    """Logits [B, h, w] of how near the location is to the middle of its object."""


class FCOS(nnx.Module):
    """A detector: images `[B, H, W, C]` to `Maps` of H/8 x W/8 locations.

    The stages of a residual network from stride 8 on are summed at stride 8, the coarsest first
    (feature pyramids, Lin et al. 2017). Two towers of 3 x 3 convolutions follow, one for classes
    and one for boxes. One level serves objects of about 10 to 200 pixels; the paper has five.

    Raises:
      UserError: when 8 does not divide the image's sides, or there are fewer than two stages.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {r"conv\.kernel": ("fsdp",)}

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        blocks: tuple[PositiveInt, ...] = (1, 2, 2, 2),
        width: PositiveInt = 16,
        features: PositiveInt = 64,
        tower: PositiveInt = 2,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (H, W, C).

        Keys:
          blocks: the residual blocks of each stage; the first stage is at stride 4, each later one
            halves the image.
          width: the channels of the stem; the stages have 2, 4, 8 ... times as many.
          features: the channels of the towers.
          tower: the convolutions of a tower.
        """
        height, breadth, channels = input_shape
        if height % STRIDE or breadth % STRIDE:
            near = [max(1, round(n / STRIDE)) * STRIDE for n in (height, breadth)]
            raise UserError(
                f"model fcos: {STRIDE} must divide the image's sides, got {height} x {breadth}; "
                f"data.decode='...|resize({near[0]}, {near[1]})' is the nearest"
            )
        if len(blocks) < 2:
            raise UserError(f"model.blocks = {blocks}: expected two stages or more")
        self.stem = ResNetConv(channels, width, 3, 2, rngs=rngs)
        self.stages: nnx.List[nnx.List[ResNetBlock]] = nnx.List()
        self.laterals: nnx.List[ResNetConv] = nnx.List()
        cin = width
        for stage, count in enumerate(blocks):
            cout = width * 2 ** (stage + 1)
            layers: nnx.List[ResNetBlock] = nnx.List()
            for number in range(count):
                layers.append(
                    ResNetBlock(
                        cout if number else cin,
                        cout,
                        1 if number else 2,
                        bottleneck=False,
                        zero_residual=False,
                        rngs=rngs,
                    )
                )
            self.stages.append(layers)
            if stage:
                self.laterals.append(ResNetConv(cout, features, 1, 1, rngs=rngs))
            cin = cout
        self.class_tower = _tower(features, tower, rngs)
        self.box_tower = _tower(features, tower, rngs)
        small = nnx.initializers.normal(0.01)
        self.classes = Conv(features, outputs, init=small, rngs=rngs)
        self.classes.bias = nnx.Param(jnp.full(outputs, math.log(PRIOR / (1 - PRIOR))))
        self.sides = Conv(features, 4, init=small, rngs=rngs)
        self.centerness = Conv(features, 1, init=small, rngs=rngs)
        # No side is farther away than the image is large; it keeps exp from overflowing.
        self._farthest = math.log(max(height, breadth) / STRIDE)

    def __call__(self, x_BHWC: jax.Array, noise: Noise | None = None) -> Maps:
        """Computes the predictions at each location."""
        x_BHWC = self._features(x_BHWC, noise)
        classes = boxes = x_BHWC
        for layer in self.class_tower:
            classes = nnx.relu(layer(classes, noise))
        for layer in self.box_tower:
            boxes = nnx.relu(layer(boxes, noise))
        sides = STRIDE * jnp.exp(jnp.minimum(self.sides(boxes), self._farthest))
        return Maps(self.classes(classes), sides, self.centerness(boxes)[..., 0])

    def _features(self, x_BHWC: jax.Array, noise: Noise | None) -> jax.Array:
        """Computes features `[B, H/8, W/8, features]`."""
        x_BHWC = nnx.relu(self.stem(shard_by_batch(x_BHWC), noise))
        levels = []
        for stage, layers in enumerate(self.stages):
            for block in layers:
                x_BHWC = block(x_BHWC, noise)
            if stage:
                levels.append(self.laterals[stage - 1](x_BHWC, noise))
        x_BHWC = levels.pop()
        while levels:
            finer = levels.pop()
            x_BHWC = finer + ops.upsample_nearest(x_BHWC)[:, : finer.shape[1], : finer.shape[2]]
        return nnx.relu(x_BHWC)


def _tower(features: int, depth: int, rngs: nnx.Rngs) -> nnx.List[ResNetConv]:
    layers: nnx.List[ResNetConv] = nnx.List()
    for _ in range(depth):
        layers.append(ResNetConv(features, features, 3, 1, rngs=rngs))
    return layers
