"""Layers against formulas in numpy, and split over devices against whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from lepton_jax.nn.layers import BatchNorm, Conv, Dropout, HyperVariable
from lepton_jax.nn.rng import Noise, example_keys

B = 16


@pytest.fixture
def mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def noise_for(position):
    return Noise(example_keys(jnp.uint32(7), jnp.int32(3), position))


def everyone(n=B):
    return noise_for(jnp.arange(n))


def images(seed=0):
    return np.random.default_rng(seed).normal(50, 3, (B, 3, 4, 5)).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
def test_conv_equals_flax_on_the_same_weights(bias):
    ours = Conv(5, 7, stride=2, padding="VALID", bias=bias, rngs=nnx.Rngs(0))
    theirs = nnx.Conv(5, 7, (3, 3), strides=2, padding="VALID", use_bias=bias, rngs=nnx.Rngs(1))
    theirs.kernel[...] = ours.kernel[...]
    if bias:
        ours.bias[...] = theirs.bias[...] = jnp.arange(7.0)
    x = jnp.asarray(images())
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-4)


def test_conv_starts_like_flax():
    ours, theirs = Conv(5, 7, rngs=nnx.Rngs(0)), nnx.Conv(5, 7, (3, 3), rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(ours.kernel[...], theirs.kernel[...])


def test_batch_norm_equals_its_formula_and_keeps_running_statistics():
    x, layer = images(), BatchNorm(5, momentum=0.8, epsilon=1e-3)
    layer.scale[...], layer.bias[...] = jnp.arange(1.0, 6.0), jnp.arange(5.0)
    y = layer(jnp.asarray(x), everyone())

    wide = x.astype(np.float64)
    mean, var = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
    scale, bias = np.arange(1.0, 6.0), np.arange(5.0)
    np.testing.assert_allclose(y, scale * (wide - mean) / np.sqrt(var + 1e-3) + bias, atol=2e-4)
    np.testing.assert_allclose(layer.mean[...], 0.2 * mean, rtol=1e-6)
    np.testing.assert_allclose(layer.var[...], 0.8 + 0.2 * var, rtol=1e-5)

    running_mean, running_var = np.asarray(layer.mean[...]), np.asarray(layer.var[...])
    evaluated = layer(jnp.asarray(x), None)
    want = scale * (wide - running_mean) / np.sqrt(running_var + 1e-3) + bias
    np.testing.assert_allclose(evaluated, want, rtol=1e-5)
    np.testing.assert_array_equal(layer.mean[...], running_mean)


def test_batch_norm_gradient_equals_its_formula():
    """The closed form of Ioffe & Szegedy 2015, page 4, with scale 1."""
    with jax.enable_x64(True):
        x, dy = images().astype(np.float64), images(1).astype(np.float64)
        ours = jax.jit(jax.grad(lambda x: (BatchNorm(5)(x, everyone()) * dy).sum()))(x)
        ours = np.asarray(ours)
    axes = (0, 1, 2)
    deviation = np.sqrt(x.var(axes) + 1e-5)
    normal = (x - x.mean(axes)) / deviation
    want = (dy - dy.mean(axes) - normal * (dy * normal).mean(axes)) / deviation
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(ours, want, rtol=0, atol=1e-10)


def test_batch_norm_in_bfloat16_computes_in_float32():
    layer, x = BatchNorm(5), images()
    params, rest = nnx.split(layer, nnx.Param, ...)[1:]
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    layer = nnx.merge(nnx.graphdef(layer), half, rest)
    x = jnp.asarray(x, jnp.bfloat16)
    y = layer(x, everyone())
    assert y.dtype == jnp.bfloat16
    assert layer.mean[...].dtype == layer.var[...].dtype == jnp.float32
    exact = np.asarray(x, np.float64).var((0, 1, 2))
    np.testing.assert_allclose(layer.var[...], 0.9 + 0.1 * exact, rtol=1e-4)


def normalized(x, position):
    """BatchNorm's output, its running statistics, and the gradient of a loss on it."""

    def loss(x):
        layer = BatchNorm(5)
        y = layer(x, noise_for(position))
        weight = jnp.cos(position.astype(x.dtype))[:, None, None, None]
        return (weight * y**3).sum(), (y, layer.mean[...], layer.var[...])

    grad, (y, mean, var) = jax.grad(loss, has_aux=True)(x)
    return y, grad, mean, var


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_split_over_devices_equals_the_whole_batch(mesh, dtype):
    with jax.enable_x64(dtype == np.float64):
        x, position = images().astype(dtype), np.arange(B)
        unsplit = jax.jit(normalized)(x, position)
        specs = dict(in_specs=P("data"), out_specs=(P("data"), P("data"), P(), P()))
        split = jax.jit(jax.shard_map(normalized, mesh=mesh, **specs, check_vma=False))(x, position)
        exact = 1e-10 if dtype == np.float64 else 2e-4
        for ours, want in zip(split, unsplit, strict=True):
            np.testing.assert_allclose(ours, want, rtol=exact, atol=exact * 10)
        sharding = jax.NamedSharding(mesh, P("data"))
        on_mesh = jax.jit(normalized)(*jax.device_put((x, position), sharding))
        for ours, want in zip(on_mesh, unsplit, strict=True):
            np.testing.assert_allclose(ours, want, rtol=exact, atol=exact * 10)


def test_dropout_keeps_and_scales_at_its_rate():
    y = np.asarray(Dropout(0.3)(jnp.ones((64, 1000)), everyone(64)))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    share = (y == 0).mean(1)
    assert abs(share.mean() - 0.3) < 0.005
    assert len(np.unique(y, axis=0)) == 64, "each example has a mask of its own"


@jax.jit
def dropped(x, position):
    return Dropout(0.5)(x, noise_for(position))


def test_dropout_draws_the_same_wherever_the_example_is(mesh):
    x, position = images(), np.arange(B)
    unsplit = dropped(x, position)
    split = jax.shard_map(dropped, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    np.testing.assert_array_equal(jax.jit(split)(x, position), unsplit)
    some = np.array([11, 2, 5])
    np.testing.assert_array_equal(dropped(x[some], position[some]), unsplit[some])
    stacked = jax.vmap(dropped)(x.reshape(4, 4, *x.shape[1:]), position.reshape(4, 4))
    np.testing.assert_array_equal(stacked.reshape(x.shape), unsplit)


def test_dropout_takes_a_traced_rate_and_one_program_serves_all():
    compiled = jax.jit(lambda rate, x: Dropout(rate)(x, everyone()))
    x = jnp.asarray(images())
    for rate in (0.1, 0.6):
        np.testing.assert_allclose(compiled(rate, x), Dropout(rate)(x, everyone()), rtol=1e-6)
    assert compiled._cache_size() == 1


def test_dropout_has_one_mask_in_every_precision():
    x = images()
    single, half = (dropped(jnp.asarray(x, d), np.arange(B)) for d in ("float32", "bfloat16"))
    with jax.enable_x64(True):
        double = np.asarray(dropped(jnp.asarray(x, jnp.float64), np.arange(B)))
    assert (half.dtype, double.dtype) == (jnp.bfloat16, np.float64)
    np.testing.assert_array_equal(np.asarray(single) == 0, np.asarray(half) == 0)
    np.testing.assert_array_equal(np.asarray(single) == 0, double == 0)


def test_dropout_is_off_in_evaluation_and_at_exactly_zero():
    x = jnp.asarray(images())
    assert Dropout(0.5)(x, None) is x
    assert Dropout(0.0)(x, everyone()) is x
    assert not jax.tree.leaves(nnx.state(Dropout(0.0)))
    np.testing.assert_array_equal(jax.jit(lambda r: Dropout(r)(x, everyone()))(0.0), x)


def test_a_rate_is_state_and_not_a_parameter():
    assert not jax.tree.leaves(nnx.state(Dropout(0.5), nnx.Param))
    assert len(jax.tree.leaves(nnx.state(Dropout(0.5), HyperVariable))) == 1


def test_layers_run_without_jit_under_strict_promotion():
    with jax.disable_jit(), jax.numpy_dtype_promotion("strict"):
        x = jnp.asarray(images()[:2, 0, 0])
        y = BatchNorm(5)(Dropout(0.5)(x, everyone(2)), everyone(2))
    assert y.shape == x.shape


def test_each_call_for_noise_is_a_new_draw():
    noise, layer, x = everyone(), Dropout(0.5), jnp.asarray(images())
    assert not np.array_equal(layer(x, noise), layer(x, noise))


def test_batch_norm_statistics_take_no_gradient():
    grad = jax.grad(lambda x: _running_mean(x).sum())(jnp.asarray(images()))
    assert not np.any(grad)


def _running_mean(x):
    layer = BatchNorm(5)
    layer(x, everyone())
    return layer.mean[...]


def test_batch_norm_without_scale_or_bias_has_no_parameters_for_them():
    layer, x = BatchNorm(5, scale=False, bias=False), jnp.asarray(images())
    assert not jax.tree.leaves(nnx.state(layer, nnx.Param))
    np.testing.assert_array_equal(layer(x, everyone()), BatchNorm(5)(x, everyone()))
