"""Convolution and pooling against loops in numpy, and against XLA's own operations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from lepton_jax.nn import ops

# (height, width), window, stride, padding: even and odd sizes, overlap, gaps, unequal sides.
GEOMETRIES = [
    ((8, 8), (2, 2), (2, 2), "VALID"),
    ((7, 9), (2, 2), (2, 2), "VALID"),
    ((7, 9), (2, 2), (2, 2), "SAME"),
    ((7, 6), (3, 3), (1, 1), "SAME"),
    ((7, 6), (3, 3), (1, 1), "VALID"),
    ((9, 8), (3, 3), (2, 2), "SAME"),
    ((9, 8), (3, 3), (2, 2), "VALID"),
    ((8, 5), (3, 2), (1, 3), "SAME"),
    ((6, 6), (1, 1), (2, 2), "VALID"),
    ((5, 6), (3, 3), (2, 1), ((1, 1), (0, 1))),
]
geometries = pytest.mark.parametrize(("size", "window", "stride", "padding"), GEOMETRIES)


def pixels(n, window, stride, padding):
    """(low, high) padding of one axis, by the definition in TensorFlow's documentation."""
    if padding == "VALID":
        return 0, 0
    if padding == "SAME":
        total = max((-(-n // stride) - 1) * stride + window - n, 0)
        return total // 2, total - total // 2
    return padding


def window_index(size, window, stride, padding):
    """For each output position, the input positions (or None outside) of its window."""
    axes = []
    for axis in range(2):
        pad = padding if isinstance(padding, str) else padding[axis]
        low, high = pixels(size[axis], window[axis], stride[axis], pad)
        count = (size[axis] + low + high - window[axis]) // stride[axis] + 1
        axes.append(
            [[o * stride[axis] + k - low for k in range(window[axis])] for o in range(count)]
        )
    return axes


def visit(size, window, stride, padding):
    """(row out, column out, row in window, column in window, row in, column in), inside only."""
    rows, columns = window_index(size, window, stride, padding)
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            for i, y in enumerate(row):
                for j, x in enumerate(column):
                    if 0 <= y < size[0] and 0 <= x < size[1]:
                        yield r, c, i, j, y, x


def output_size(size, window, stride, padding):
    return tuple(len(axis) for axis in window_index(size, window, stride, padding))


@partial(jax.jit, static_argnums=0)
def value_and_pullback(f, cotangent, *inputs):
    value, pullback = jax.vjp(f, *inputs)
    return value, pullback(cotangent)


def random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@geometries
def test_conv2d_and_its_gradients_equal_loops(size, window, stride, padding):
    x, kernel = random(0, 2, *size, 3), random(1, *window, 3, 4)
    y = np.zeros((2, *output_size(size, window, stride, padding), 4))
    dy = random(2, *y.shape)
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for r, c, i, j, h, w in visit(size, window, stride, padding):
        y[:, r, c] += x[:, h, w] @ kernel[i, j]
        dx[:, h, w] += dy[:, r, c] @ kernel[i, j].T
        dkernel[i, j] += x[:, h, w].T @ dy[:, r, c]

    conv = partial(ops.conv2d, stride=stride, padding=padding)
    with jax.enable_x64(True):
        ours, grads = value_and_pullback(conv, dy, x, kernel)
        assert ours.dtype == jnp.float64
    np.testing.assert_allclose(ours, y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grads[0], dx, rtol=0, atol=1e-12)
    np.testing.assert_allclose(grads[1], dkernel, rtol=0, atol=1e-12)


@geometries
def test_max_pool_and_its_gradient_equal_loops(size, window, stride, padding):
    x = random(0, 2, *size, 3) - 9.0  # all negative: padding must not win
    shape = output_size(size, window, stride, padding)
    y, winner = np.full((2, *shape, 3), -np.inf), np.zeros((2, *shape, 3, 2), int)
    for r, c, _, _, h, w in visit(size, window, stride, padding):
        larger = x[:, h, w] > y[:, r, c]
        y[:, r, c] = np.where(larger, x[:, h, w], y[:, r, c])
        winner[:, r, c] = np.where(larger[..., None], (h, w), winner[:, r, c])
    dy, dx = random(2, *y.shape), np.zeros_like(x)
    for b, r, c, k in np.ndindex(y.shape):
        dx[b, *winner[b, r, c, k], k] += dy[b, r, c, k]

    pool = partial(ops.max_pool, window=window, stride=stride, padding=padding)
    with jax.enable_x64(True):
        ours, (grad,) = value_and_pullback(pool, dy, x)
    np.testing.assert_array_equal(ours, y)
    np.testing.assert_allclose(grad, dx, rtol=0, atol=1e-14)


@geometries
def test_avg_pool_and_its_gradient_equal_loops(size, window, stride, padding):
    x = random(0, 2, *size, 3)
    shape = output_size(size, window, stride, padding)
    total, count = np.zeros((2, *shape, 3)), np.zeros(shape)
    dy, dx = random(2, *total.shape), np.zeros_like(x)
    for r, c, _, _, h, w in visit(size, window, stride, padding):
        total[:, r, c] += x[:, h, w]
        count[r, c] += 1
    for r, c, _, _, h, w in visit(size, window, stride, padding):
        dx[:, h, w] += dy[:, r, c] / count[r, c]

    pool = partial(ops.avg_pool, window=window, stride=stride, padding=padding)
    with jax.enable_x64(True):
        ours, (grad,) = value_and_pullback(pool, dy, x)
    np.testing.assert_allclose(ours, total / count[:, :, None], rtol=0, atol=1e-14)
    np.testing.assert_allclose(grad, dx, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2)])
def test_gradient_of_tied_maxima_goes_where_xlas_own_goes(window, stride):
    x = jnp.asarray(np.random.default_rng(0).integers(0, 3, (4, 9, 9, 2)), jnp.float32)
    dy = random(1, *ops.max_pool(x, window, stride=stride).shape).astype(np.float32)
    sizes = (1, window, window, 1), (1, stride, stride, 1)
    stock = lambda x: lax.reduce_window(x, -jnp.inf, lax.max, *sizes, "VALID")  # noqa: E731
    grad = jax.grad(lambda x: (ops.max_pool(x, window, stride=stride) * dy).sum())(x)
    want = jax.grad(lambda x: (stock(x) * dy).sum())(x)
    np.testing.assert_allclose(grad, want, atol=1e-6)


@pytest.mark.parametrize("at", range(4))
def test_max_pool_passes_on_a_value_that_is_no_number(at):
    x = jnp.zeros(4).at[at].set(jnp.nan).reshape(1, 2, 2, 1)
    assert jnp.isnan(ops.max_pool(x)).all()


def test_global_avg_pool_is_the_mean_over_the_image():
    x = random(0, 2, 3, 5, 4).astype(np.float32)
    np.testing.assert_allclose(ops.global_avg_pool(jnp.asarray(x)), x.mean((1, 2)), atol=1e-6)


def test_largest_entry_along_an_axis_has_the_gradient_of_the_first_that_is_largest():
    x_BFC = random(0, 2, 6, 3).astype(np.float32).round()  # with ties
    dy_BC = random(1, 2, 3).astype(np.float32)
    np.testing.assert_array_equal(ops.max_along(jnp.asarray(x_BFC), 1), x_BFC.max(1))
    grad_BFC = jax.grad(lambda x: (ops.max_along(x, 1) * dy_BC).sum())(jnp.asarray(x_BFC))
    chosen_BFC = np.arange(6)[:, None] == x_BFC.argmax(1)[:, None]
    np.testing.assert_array_equal(grad_BFC, np.where(chosen_BFC, dy_BC[:, None], 0))
    assert np.isnan(ops.max_along(jnp.asarray([1.0, np.nan, np.inf]), 0))
    assert ops.max_along(jnp.full(3, -np.inf), 0) == -np.inf


def stock_conv(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def stock_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def stock_mean(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "VALID") / 9


def ours_net(kernel, x):
    y = ops.max_pool(jnp.tanh(ops.conv2d(x, kernel)))
    return ops.avg_pool(y, 3, stride=1)


def stock_net(kernel, x):
    return stock_mean(stock_pool(jnp.tanh(stock_conv(x, kernel))))


def loss(net, kernel, x):
    return (net(kernel, x) ** 2).sum()


X = random(0, 4, 9, 8, 3).astype(np.float32)
KERNEL = random(1, 3, 3, 3, 5).astype(np.float32)


def in_scan(f):
    def g(kernel, x):
        return lax.scan(lambda carry, _: (carry, f(kernel, x)), 0, length=2)[1][1]

    return g


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.remat, in_scan])
def test_equals_xlas_own_operations_under(transform):
    """Value and gradient, eagerly, under jit, with rematerialisation and inside a loop."""
    value, grad = jax.value_and_grad(transform(partial(loss, ours_net)))(KERNEL, X)
    want, want_grad = jax.value_and_grad(partial(loss, stock_net))(KERNEL, X)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(grad, want_grad, rtol=1e-4, atol=1e-4)


def test_a_stack_of_trials_equals_each_alone():
    kernels, xs = jnp.stack([KERNEL, 2 * KERNEL]), jnp.stack([X, X[::-1]])
    grads = jax.jit(jax.vmap(jax.grad(partial(loss, ours_net))))(kernels, xs)
    for grad, kernel, x in zip(grads, kernels, xs, strict=True):
        alone = jax.grad(partial(loss, stock_net))(kernel, x)
        np.testing.assert_allclose(grad, alone, rtol=1e-4, atol=1e-4)


def test_equals_xlas_own_operations_without_jit():
    with jax.disable_jit():
        y = ours_net(jnp.asarray(KERNEL), jnp.asarray(X))
        grad = jax.grad(partial(loss, ours_net))(jnp.asarray(KERNEL), jnp.asarray(X))
    np.testing.assert_allclose(y, stock_net(KERNEL, X), atol=1e-5)
    want = jax.grad(partial(loss, stock_net))(KERNEL, X)
    np.testing.assert_allclose(grad, want, rtol=1e-4, atol=1e-4)


def test_keeps_bfloat16():
    kernel, x = jnp.asarray(KERNEL, jnp.bfloat16), jnp.asarray(X, jnp.bfloat16)
    y, grad = ours_net(kernel, x), jax.grad(partial(loss, ours_net))(kernel, x)
    assert y.dtype == grad.dtype == jnp.bfloat16
    wide = stock_net(kernel.astype(jnp.float32), x.astype(jnp.float32))
    np.testing.assert_allclose(y.astype(jnp.float32), wide, atol=0.03)


def test_holds_under_strict_promotion_of_types_and_ranks():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert ours_net(jnp.asarray(KERNEL, jnp.bfloat16), jnp.asarray(X, jnp.bfloat16)).size


def test_exports_for_three_platforms_with_any_batch():
    (batch,) = export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((batch, *X.shape[1:]), jnp.float32)
    program = export.export(jax.jit(ours_net), platforms=("cpu", "cuda", "tpu"))(
        jax.ShapeDtypeStruct(KERNEL.shape, jnp.float32), spec
    )
    back = export.deserialize(program.serialize())
    for n in (1, 3):
        np.testing.assert_allclose(
            back.call(KERNEL, X[:n]), stock_net(KERNEL, X[:n]), rtol=0, atol=1e-5
        )


def lowered(platform):
    step = jax.jit(jax.grad(partial(loss, ours_net)))
    return step.trace(KERNEL, X).lower(lowering_platforms=(platform,)).as_text()


def test_cpu_has_neither_convolution_nor_window_reduction():
    text = lowered("cpu")
    assert "dot_general" in text
    assert not any(op in text for op in ("stablehlo.convolution", "reduce_window", "select_and"))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_keep_xlas_own_operations(platform):
    text = lowered(platform)
    assert "dot_general" not in text
    assert all(op in text for op in ("stablehlo.convolution", "reduce_window", "select_and"))


def test_a_window_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="a window of 3 does not fit into W = 2"):
        ops.conv2d(jnp.ones((1, 4, 2, 1)), jnp.ones((3, 3, 1, 1)), padding="VALID")
