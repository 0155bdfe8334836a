"""What several primitives compute is one operator of ONNX, where it has one; and what does not
change from round to round of a loop is computed once.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from flax import nnx
from jax import lax

from lepton_jax.nn.cells import CELLS, unroll_cell
from tests.export.onnx.test_primitives import assert_same, converted

B, T, C, H = 5, 7, 3, 4
DRAWN = np.random.default_rng(1)
X = DRAWN.normal(size=(B, T, C)).astype(np.float32)
GATES = DRAWN.normal(size=(B, T, 4 * H)).astype(np.float32)
U = DRAWN.normal(size=(H, 4 * H)).astype(np.float32)
START = DRAWN.normal(size=(B, H)).astype(np.float32)
LENGTH = np.array([0, 1, 3, 6, 7], np.int32)
OPERATORS = {"rnn": "RNN", "rnn_sigmoid": "RNN", "rnn_relu": "RNN", "lstm": "LSTM", "gru": "GRU"}


def operators(function: Callable[..., Any], *inputs: np.ndarray) -> Counter[str]:
    """Counts the operators of a program, those in bodies too."""
    counted: Counter[str] = Counter()

    def count(graph: Any) -> None:
        for node in graph.node:
            counted[node.op_type] += 1
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    count(attribute.g)

    count(onnx.load_model_from_string(converted(function, *inputs).content).graph)
    return counted


@pytest.mark.parametrize("name", CELLS)
def test_a_recurrent_layer_is_one_operator(name: str):
    cell = CELLS[name](C, H, rngs=nnx.Rngs(0))

    def layer(length: Any, start: Any, x: Any) -> Any:
        carry = (start, start * 2) if name == "lstm" else start
        return (
            unroll_cell(cell, x),
            unroll_cell(cell, x, length=length, carry=carry),
            unroll_cell(cell, x, length=length, carry=carry, reverse=True),
        )

    assert_same(layer, LENGTH, START, X)
    counted = operators(layer, LENGTH, START, X)
    assert counted[OPERATORS[name]] == 3
    assert not counted["Loop"]


def lstm(order: tuple[int, ...], decay: float = 1.0) -> Callable[..., Any]:
    """An LSTM written in another way than this package's: c first, and gates in an order."""

    def layer(x: Any, start: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            c, h = carry
            gates = (row + h @ U).reshape(-1, 4, H)
            i, f, o, g = (gates[:, k] for k in order)
            c = decay * lax.logistic(f) * c + jnp.tanh(g) * lax.logistic(i)
            h = jnp.tanh(c) * lax.logistic(o)
            return (c, h), h

        return lax.scan(step, (start, start / 2), x.swapaxes(0, 1))

    return layer


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_a_cell_is_known_by_what_it_computes(order: tuple[int, ...]):
    assert_same(lstm(order), GATES, START)
    assert operators(lstm(order), GATES, START)["LSTM"] == 1


def test_what_is_almost_a_cell_stays_a_loop():
    layer = lstm((0, 1, 2, 3), decay=0.99)
    assert_same(layer, GATES, START)
    counted = operators(layer, GATES, START)
    assert (counted["LSTM"], counted["Loop"]) == (0, 1)


def test_steps_that_count_anywhere_are_no_lengths():
    cell = CELLS["gru"](C, H, rngs=nnx.Rngs(0))

    def layer(x: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            gates, counts = row
            new, _ = cell(h, gates)
            return jnp.where(counts, new, h), jnp.where(counts, new, 0)

        counts = (x[:, :, :1] > 0).swapaxes(0, 1)
        rows = (cell.input(x).swapaxes(0, 1), counts)
        return lax.scan(step, jnp.zeros((x.shape[0], H)), rows)

    assert_same(layer, X)
    assert operators(layer, X)["Loop"] == 1


def test_softmax_and_norms_are_one_operator_each():
    norm = nnx.LayerNorm(C, rngs=nnx.Rngs(0), use_fast_variance=False)
    norm.scale[...] = jnp.asarray(X[0, 0])

    def layers(x: Any) -> Any:
        return jax.nn.softmax(x), jax.nn.softmax(x, 1), jax.nn.log_softmax(x), norm(x)

    assert_same(layers, X)
    counted = operators(layers, X)
    assert (counted["Softmax"], counted["LogSoftmax"], counted["Exp"]) == (2, 1, 0)
    assert counted["LayerNormalization"] == 1


def test_what_a_loop_does_not_change_is_computed_before_it():
    def repeated(x: Any) -> Any:
        return lax.fori_loop(0, 5, lambda i, c: c + jnp.sin(x).sum() * i, jnp.float32(0))

    assert_same(repeated, X)
    program = onnx.load_model_from_string(converted(repeated, X).content)
    assert "Sin" in {node.op_type for node in program.graph.node}


def test_what_a_branch_computes_stays_in_it():
    def chosen(x: Any) -> Any:
        return lax.cond(x[0, 0, 0] > 9, lambda: jnp.sin(x), lambda: x)

    assert_same(chosen, X)
    program = onnx.load_model_from_string(converted(chosen, X).content)
    assert "Sin" not in {node.op_type for node in program.graph.node}


def test_an_index_that_lies_inside_is_not_guarded():
    def counted_up(x: Any) -> Any:
        return lax.fori_loop(0, T, lambda i, c: c * 0.5 + x[:, i], x[:, 0])

    def beyond(x: Any) -> Any:
        return lax.fori_loop(0, T, lambda i, c: c * 0.5 + x[:, i + 1], x[:, 0])

    for function, guards in ((counted_up, 0), (beyond, 1)):
        assert_same(function, X[..., 0])
        assert operators(function, X[..., 0])["Clip"] == guards


def test_rounds_of_a_loop_that_the_test_bounds_read_inside():
    def summed(x: Any) -> Any:
        def going(carry: Any) -> Any:
            return (carry[0] < T) & (carry[1].sum() < 1e3)

        return lax.while_loop(going, lambda c: (c[0] + 1, c[1] + x[:, c[0]]), (0, x[:, 0]))

    assert_same(summed, X[..., 0])
    assert operators(summed, X[..., 0])["Clip"] == 0


def test_an_example_that_has_ended_reads_inside_while_others_go_on():
    def summed(n: Any, row: Any) -> Any:
        def step(carry: Any) -> Any:
            return carry[0] + 1, carry[1] + row[carry[0]]

        start = (jnp.int32(0), jnp.float32(0))
        return lax.while_loop(lambda c: (c[0] < T) & (c[0] < n), step, start)

    assert_same(jax.vmap(summed), np.array([0, 7, 3, 7, 6], np.int32), X[..., 0])
