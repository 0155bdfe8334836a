"""ResNets: the published sizes, and the arithmetic of their blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from lepton_jax.models.resnet import ResNet, ResNetBlock
from lepton_jax.nn.rng import Noise, example_keys

X = np.random.default_rng(0).normal(size=(3, 9, 8, 6)).astype(np.float32)


def parameters(**keys):
    shape, classes = keys.pop("shape", (224, 224, 3)), keys.pop("classes", 1000)
    m = nnx.eval_shape(lambda: ResNet(shape, classes, rngs=nnx.Rngs(0), **keys))
    return sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))


def test_parameters_are_as_many_as_published():
    assert parameters() == 11_689_512
    assert parameters(blocks=(3, 4, 6, 3), bottleneck=True) == 25_557_032
    cifar = parameters(shape=(32, 32, 3), classes=10, blocks=(3, 3, 3), width=16, stem="cifar")
    # 0.27 M with identity shortcuts; two projections of 16 x 32 and 32 x 64 with their norms more.
    assert cifar == 269_722 + (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


def conv_norm(x, layer, stride):
    """Evaluated by hand, with statistics that are not those of the start."""
    kernel = layer.conv.kernel[...]
    pad = kernel.shape[0] // 2
    y = lax.conv_general_dilated(
        x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    y = (y - layer.norm.mean[...]) / np.sqrt(layer.norm.var[...] + 1e-5)
    return y * layer.norm.scale[...] + layer.norm.bias[...]


@pytest.mark.parametrize(
    ("bottleneck", "stride", "width"), [(False, 1, 6), (False, 2, 12), (True, 2, 4), (True, 1, 4)]
)
def test_a_block_is_what_the_paper_draws(bottleneck, stride, width):
    block = ResNetBlock(
        6, width, stride, bottleneck=bottleneck, zero_residual=False, rngs=nnx.Rngs(0)
    )
    rng = np.random.default_rng(1)
    units = [*block.layers, *([block.projection] if block.projection is not None else [])]
    for unit in units:
        for value in (unit.norm.scale, unit.norm.bias, unit.norm.mean, unit.norm.var):
            value[...] = jnp.asarray(rng.uniform(0.5, 2, value[...].shape), jnp.float32)
    strides = [1, stride, 1] if bottleneck else [stride, 1]
    y = jnp.asarray(X)
    for i, (unit, step) in enumerate(zip(block.layers, strides, strict=True)):
        y = conv_norm(y if i == 0 else jnp.maximum(y, 0), unit, step)
    changes = stride != 1 or y.shape[-1] != 6
    assert (block.projection is not None) == changes
    x = conv_norm(X, block.projection, stride) if changes else X
    np.testing.assert_allclose(block(jnp.asarray(X), None), jnp.maximum(x + y, 0), atol=1e-4)


def test_a_zero_residual_begins_as_the_identity():
    block = ResNetBlock(6, 6, 1, bottleneck=False, zero_residual=True, rngs=nnx.Rngs(0))
    noise = Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.arange(3)))
    np.testing.assert_array_equal(block(jnp.asarray(X), noise), np.maximum(X, 0))


def test_the_imagenet_stem_quarters_the_image():
    m = ResNet((32, 48, 3), 5, blocks=(1,), width=8, rngs=nnx.Rngs(0))
    seen = []
    m.blocks[0].__class__ = type(
        "Seen", (ResNetBlock,), {"__call__": lambda s, x, n: seen.append(x) or x}
    )
    assert m(jnp.zeros((2, 32, 48, 3))).shape == (2, 5)
    assert seen[0].shape == (2, 8, 12, 8)
