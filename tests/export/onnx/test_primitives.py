"""Each primitive that a model may be made of gives in onnxruntime what it gives in JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
from jax import lax

from lepton_jax.export.onnx.convert import NotInOnnx, OnnxProgram, convert_to_onnx

B = 3
"""The batch, whose size the converter does not know."""

DRAWN = np.random.default_rng(0)
X = DRAWN.normal(size=(B, 4, 6)).astype(np.float32)
Y = DRAWN.normal(size=(B, 4, 6)).astype(np.float32)
UNIT = DRAWN.uniform(-0.99, 0.99, (B, 8)).astype(np.float32)
IMAGE = DRAWN.normal(size=(B, 9, 8, 4)).astype(np.float32)
SIGNAL = DRAWN.normal(size=(B, 10, 3)).astype(np.float32)
WHOLE = DRAWN.integers(-9, 10, (B, 6)).astype(np.int32)
BYTES = DRAWN.integers(0, 256, (B, 6)).astype(np.uint8)
WORDS = DRAWN.integers(0, 2**32, (B, 6)).astype(np.uint32)
PLACES = np.array([[0, 3], [2, 9], [5, -7]], np.int32)
SEEDS = np.array([0, 7, 2**32 - 1], np.uint32)
KERNEL = DRAWN.normal(size=(3, 3, 4, 5)).astype(np.float32)
GROUPED = DRAWN.normal(size=(3, 3, 2, 6)).astype(np.float32)
KERNEL_1D = DRAWN.normal(size=(3, 3, 5)).astype(np.float32)


def converted(function: Callable[..., Any], *inputs: np.ndarray) -> OnnxProgram:
    """Converts `function` of arrays `[B, ...]` for any B."""

    def forward(weights: Any, inputs: Any) -> dict[str, Any]:
        answers = jax.tree.leaves(function(*(inputs[k] for k in sorted(inputs))))
        return {f"y{i:02d}": y for i, y in enumerate(answers)}

    specs = {f"x{i}": jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for i, x in enumerate(inputs)}
    return convert_to_onnx(forward, specs)


def run_in_onnx(function: Callable[..., Any], *inputs: np.ndarray) -> list[np.ndarray]:
    """Converts `function` of arrays `[B, ...]` for any B and runs it on `inputs`."""
    program = converted(function, *inputs)
    named = {f"x{i}": x for i, x in enumerate(inputs)}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        program.content, options, providers=["CPUExecutionProvider"]
    )
    used = {i.name for i in session.get_inputs()}
    return session.run(None, {k: x for k, x in named.items() if k in used})


def assert_same(function: Callable[..., Any], *inputs: np.ndarray) -> None:
    expected = [np.asarray(y) for y in jax.tree.leaves(jax.jit(function)(*inputs))]
    for got, wanted in zip(run_in_onnx(function, *inputs), expected, strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, rtol=3e-5, atol=3e-6)
        else:
            np.testing.assert_array_equal(got, wanted)


def conv(**keys: Any) -> Callable[[Any], Any]:
    layout = ("NHWC", "HWIO", "NHWC")
    keys = {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": layout} | keys
    return lambda x: lax.conv_general_dilated(x, keys.get("rhs", KERNEL), **{
        k: v for k, v in keys.items() if k != "rhs"
    })  # fmt: skip


def pooled(start: float, reduce: Any, window: Any, strides: Any, padding: Any) -> Any:
    return lambda x: lax.reduce_window(x, start, reduce, window, strides, padding)


def gathered(x: jax.Array, start: Any, mode: str) -> Any:
    """Two of the second axis and one of the last one, which is left out, from `start` on."""
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(0, 1), collapsed_slice_dims=(2,), start_index_map=(1, 2)
    )
    return lax.gather(x, start, numbers, (x.shape[0], 2, 1), mode=mode)


def loop_until(x: jax.Array) -> Any:
    """Doubles rows until the largest sum is over 9, and counts the rounds."""

    def going(carry: Any) -> jax.Array:
        return (carry[1] < 9) & (carry[0].sum() < 99)

    return lax.while_loop(going, lambda c: (c[0] * 2, c[1] + 1), (jnp.abs(x), jnp.int32(0)))


def scanned(x: jax.Array, reverse: bool = False) -> Any:
    def step(carry: Any, row: Any) -> Any:
        carry = jnp.tanh(carry + row)
        return carry, (carry * 2, row.argmax(-1))

    return lax.scan(step, jnp.zeros(x[:, 0].shape), x.swapaxes(0, 1), reverse=reverse)


CASES: dict[str, tuple[Any, ...]] = {
    # Elementwise.
    "arithmetic": (lambda x, y: (x + y, x - y, x * y, x / y, -x, x**2, x**3, x**-1), X, Y),
    "order": (lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y), X, Y),
    "extrema": (
        lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, y), jnp.clip(x, -0.5, 0.5), jax.nn.relu(x)),
        X, Y,
    ),
    "growth": (
        lambda x: (jnp.exp(x), jnp.exp2(x), jnp.expm1(x), jnp.log(abs(x)), jnp.log1p(abs(x))), X,
    ),
    "near zero": (lambda x: (jnp.expm1(x * 1e-6), jnp.log1p(x * 1e-6)), X),
    "roots": (lambda x: (jnp.sqrt(abs(x)), lax.rsqrt(abs(x)), jnp.cbrt(x), abs(x) ** 0.3), X),
    "waves": (lambda x: (jnp.sin(x), jnp.cos(x), jnp.tan(x), jnp.tanh(x), jnp.sinh(x)), UNIT),
    "arcs": (lambda x: (jnp.arcsin(x), jnp.arccos(x), jnp.arctan(x), jnp.arctanh(x)), UNIT),
    "errors": (lambda x: (lax.erf(x), lax.erfc(x), lax.erf_inv(x)), UNIT),
    "gates": (lambda x: (jax.nn.sigmoid(x), jax.nn.gelu(x), jax.nn.silu(x), jax.nn.elu(x)), X),
    "rounding": (
        lambda x: (jnp.floor(x), jnp.ceil(x), jnp.round(x), lax.round(x), jnp.sign(x)), X * 5,
    ),
    "finite": (lambda x: jnp.isfinite(jnp.where(x > 0, x, jnp.inf)), X),
    "remainder": (lambda x: (lax.rem(x, jnp.int32(4)), x // 4, x % 4, lax.div(x, jnp.int32(4))),
                  WHOLE),
    "integers": (lambda x: (x + 1, abs(x), jnp.sign(x), x * x, x.astype(jnp.float32)), WHOLE),
    "bytes": (lambda x: (x.astype(jnp.float32) / 255, x.astype(jnp.int32) - 3, x + x), BYTES),
    "booleans": (lambda x: (~(x > 0), (x > 0) & (x < 5), (x > 0) | (x < -5), (x > 0) ^ (x < 5)),
                 WHOLE),
    "bits": (lambda x: (x & 12, x | 12, x ^ 12, ~x, x << 3, x >> 3), WHOLE),
    "bits beyond the last one": (lambda x: (x << 32, x >> jnp.uint32(33), x >> x % 40), WORDS),
    "bits of words": (lambda x: (x << 5, x >> 5, ~x, x ^ 77, x + 77, x * 3), WORDS),
    "choice": (lambda x: (jnp.where(x > 0, x, 0), jnp.where(x > 0, x < 5, x < -5)), WHOLE),
    "choice of three": (lambda x: lax.select_n(x % 3, x, x + 1, x + 2), abs(WHOLE)),
    "bitcast": (
        lambda x: lax.bitcast_convert_type((x & 0x7FFFFF) | 0x3F000000 | (x & 1) << 31,
                                           jnp.float32), WORDS,
    ),
    "halves": (lambda x: (x.astype(jnp.bfloat16) * 0).astype(jnp.float32), X),
    # Shapes.
    "broadcast": (lambda x: (x[:, None] + jnp.ones((x.shape[0], 2, 4, 6)), jnp.zeros(x.shape)), X),
    "reshape": (lambda x: (x.reshape(x.shape[0], -1), x.reshape(-1, 6), x[:, :, None].squeeze(2)),
                X),
    "transpose": (lambda x: (x.transpose(0, 2, 1), x.transpose(1, 2, 0)), X),
    "slice": (lambda x: (x[:, 1:3], x[:, ::2, 1:5:3], x[1:], x[:-1], x[:, -1]), X),
    "split and join": (
        lambda x, y: (jnp.concatenate([x, y], 1), jnp.stack([x, y], 1), *jnp.split(x, 3, -1)), X, Y,
    ),
    "reverse": (lambda x: (x[:, ::-1], x[::-1, ::-1]), X),
    "pad": (
        lambda x: lax.pad(x, 7.0, ((0, 0, 0), (1, 2, 0), (-1, -2, 0))), X,
    ),
    "pad between": (lambda x: lax.pad(x, 7.0, ((0, 0, 0), (1, 0, 2), (0, -1, 1))), X),
    "count": (
        lambda x: (jnp.arange(x.shape[0]), lax.broadcasted_iota(jnp.int32, x.shape, 2),
                   x.shape[0] * x[0], x.mean(0), jnp.eye(4)[None] + x[:, :, :4]), X,
    ),
    # Reading and writing at computed places.
    "take": (lambda i: (jnp.arange(12.0).reshape(6, 2)[i], jnp.arange(6)[i]), PLACES % 6),
    "take of places that are computed": (
        lambda x, i: (x[:, lax.rem(abs(i[0, 1]), 4)], x[:, i[2, 1]], x[:, :, i[1, 0]]), X, PLACES,
    ),
    "take outside": (
        lambda i: (jnp.take(jnp.arange(6.0), i, mode="fill"), jnp.take(jnp.arange(6.0), i,
                                                                       mode="clip")), PLACES,
    ),
    "take of another axis": (lambda x, i: jnp.take(x, i[0], axis=1, mode="clip"), X, PLACES),
    "take along an axis": (
        lambda x, i: (jnp.take_along_axis(x[:, 0], i % 6, 1), x[jnp.arange(x.shape[0]), i[:, 0]]),
        X, PLACES,
    ),
    "write": (lambda x, i: x.at[:, i[0] % 4].set(9.0), X, PLACES),
    "write one slice": (
        lambda x, i: [x.at[:, i[j, 1]].set(7.0, mode=mode)
                      for j in range(3) for mode in ("drop", "clip")], X, PLACES,
    ),
    "write in each row": (
        lambda x, i: x.at[jnp.arange(x.shape[0]), 1, i[:, 1]].set(9.0), X, PLACES,
    ),
    "write outside": (lambda i: jnp.zeros(6).at[i].set(1.0), PLACES),
    "add at": (lambda x, i: (x.at[:, :, i[0] % 4].add(1.0), x[:, 0].at[:, 2].max(0.3)), X, PLACES),
    "read a window": (
        lambda x, i: (lax.dynamic_slice(x, (0, i[1, 0], i[2, 0]), (x.shape[0], 2, 3)),
                      lax.dynamic_index_in_dim(x, i[0, 1], 1)), X, PLACES,
    ),
    "gather one window": (
        lambda x, i: [gathered(x, start, mode) for start in (i[0], i[1], i[2], -i[2], 2 + 0 * i[0])
                      for mode in ("fill", "clip")], X, PLACES,
    ),
    "write a window": (
        lambda x, i: lax.dynamic_update_slice(x, 0 * x[:, :2, :3] + 8, (0, i[1, 0], i[2, 0])), X,
        PLACES,
    ),
    # Products.
    "product": (
        lambda x, y: (jnp.einsum("btd,bsd->bts", x, y), jnp.einsum("btd,kd->btk", x, jnp.ones(
            (2, 6))), jnp.einsum("btd,bte->bde", x, y), jnp.einsum("btd,btd->b", x, y)), X, Y,
    ),
    "product of many axes": (
        lambda x: (jnp.einsum("btd,dhk->bthk", x, jnp.arange(36.0).reshape(6, 2, 3)),
                   jnp.einsum("bhk,hkd->bd", x, jnp.ones((4, 6, 2))), x[:, 0] @ jnp.ones(6)), X,
    ),
    "product of integers": (lambda x: jnp.dot(x, jnp.ones((6, 2), jnp.int32)), WHOLE),
    "convolution": (conv(), IMAGE),
    "convolution with strides": (conv(window_strides=(2, 1), padding=((1, 0), (2, 1))), IMAGE),
    "convolution spread out": (conv(rhs_dilation=(2, 1), padding="VALID"), IMAGE),
    "convolution in groups": (conv(feature_group_count=2, rhs=GROUPED), IMAGE),
    "convolution transposed": (lambda x: lax.conv_transpose(x, KERNEL, (2, 2), "SAME"), IMAGE),
    "convolution of signals": (
        lambda x: lax.conv_general_dilated(
            x, KERNEL_1D, (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")), SIGNAL,
    ),
    # Reductions.
    "sums": (lambda x: (x.sum(-1), x.sum(), x.mean((1, 2)), x.var(1), x.prod(1)), X),
    "largest": (lambda x: (x.max(1), x.min(), x.argmax(-1), x.argmin(1), jax.nn.softmax(x)), X),
    "of integers": (lambda x: (x.sum(1), x.max(1), (x > 0).any(1), (x > 0).all(1), (x > 0).sum(1)),
                    WHOLE),
    "running": (lambda x: (jnp.cumsum(x, 1), lax.cumsum(x, 1, reverse=True), lax.cummax(x, 1),
                           lax.cumprod(x, 2), lax.cummin(x, 2, reverse=True)), X),
    "sort": (lambda x: (jnp.sort(x), jnp.argsort(x, 1), jnp.sort(x, descending=True)), X),
    "sort by two": (lambda x: lax.sort((x % 3, x), num_keys=2), WHOLE),
    "sort of equals": (lambda x: jnp.argsort(x % 3), WHOLE),
    "top": (lambda x: (lax.top_k(x, 3), lax.top_k((x > 0).astype(jnp.int32), 2)), X),
    "windows": (pooled(-np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"), IMAGE),
    "windows with a border": (pooled(-np.inf, lax.max, (1, 3, 3, 1), (1, 2, 1, 1), "SAME"), IMAGE),
    "windows of sums": (pooled(0.0, lax.add, (1, 2, 3, 1), (1, 1, 2, 1), "SAME"), IMAGE),
    "windows of signals": (pooled(-np.inf, lax.max, (1, 3, 1), (1, 2, 1), "SAME"), SIGNAL),
    # Control.
    "call": (lambda x: (jax.jit(jnp.sin)(x), jax.checkpoint(jnp.cos)(x), jax.nn.gelu(x)), X),
    "branch": (lambda i: lax.cond(i[0, 0] > 0, lambda: i * 2, lambda: i + 1), PLACES),
    "branch of three": (
        lambda i: lax.switch(i[1, 0], [lambda: i, lambda: i + 1, lambda: i * 2]), PLACES,
    ),
    "while": (loop_until, X),
    "while of each example": (jax.vmap(loop_until), X),
    "scan": (scanned, X),
    "scan from behind": (lambda x: scanned(x, reverse=True), X),
    "loop with a number of rounds": (
        lambda x: lax.fori_loop(0, 5, lambda i, c: c * 0.5 + i, x), X,
    ),
    # Random numbers.
    "random": (
        lambda s: jax.vmap(lambda s: jax.random.uniform(
            jax.random.fold_in(jax.random.key(3), s), (5, 2)))(s), SEEDS,
    ),
    "random bits": (
        lambda s: jax.vmap(lambda s: jax.random.bits(jax.random.split(jax.random.key(s))[1],
                                                     (4,)))(s), SEEDS,
    ),
    "random normal": (
        lambda s: jax.vmap(lambda s: jax.random.normal(jax.random.key(s), (8,)))(s), SEEDS,
    ),
    "random class": (
        lambda s: jax.vmap(lambda s: jax.random.categorical(
            jax.random.key(s), jnp.arange(5.0)))(s), SEEDS,
    ),
}  # fmt: skip
"""By a name, a function and its inputs."""


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_computes_what_jax_computes(name: str):
    function, *inputs = CASES[name]
    assert_same(function, *inputs)


def test_what_has_no_rule_is_named_with_its_place():
    with pytest.raises(NotInOnnx, match=r"'lgamma' \(test_primitives.py:\d+, .*\): there is no"):
        run_in_onnx(lax.lgamma, X)


def test_a_keys_generator_without_a_rule_is_named():
    with pytest.raises(NotInOnnx, match="only those of threefry2x32"):
        run_in_onnx(lambda s: jax.vmap(lambda s: jax.random.bits(
            jax.random.key(s, impl="rbg"), (4,)))(s), SEEDS)  # fmt: skip


@pytest.mark.parametrize("shape", [(10,), (4, 6), (7, 7, 10), (4, 4, 16), (5, 3, 3), (101,)])
def test_a_sum_does_not_depend_on_the_place_in_the_batch(shape):
    rows = np.exp(DRAWN.normal(size=(9, *shape))).astype(np.float32)
    axes = [(-1,)] if len(shape) == 1 else [(-1,), (1, 2), tuple(range(1, len(shape) + 1))]

    def sums(x):
        return tuple(x.sum(a) for a in axes)

    assert_same(sums, rows)
    places = [[8, 1, 0, 5], [0, 3, 8, 1, 5, 2, 4], [5, 8], [1, 0, 1, 1, 5, 8, 3, 2]]
    alone = [y.reshape(9, -1) for y in run_in_onnx(sums, rows)]
    for order in places:
        for y, whole in zip(run_in_onnx(sums, rows[order]), alone, strict=True):
            np.testing.assert_array_equal(y.reshape(len(order), -1), whole[order])
