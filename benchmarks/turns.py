"""Steps of several programs in a process each, which take turns on one machine.

The allocator and the threads belong to a process, so each side has one of its own; only one of them
works at a time, and a ratio is of neighbours.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from benchmarks.pairs import Line, spread

Step = Callable[[], Any]
"""Takes one training step and gives its loss, which `float` waits for."""


PEERS = {"keras": "tensorflow", "torch": "torch"}
"""The package without which there is nothing to compare with."""


def peers() -> list[str]:
    """Those of PEERS that are installed."""
    return [name for name, package in PEERS.items() if find_spec(package)]


def rounds(module: str, workers: Mapping[str, Sequence[str]], count: int) -> list[dict[str, float]]:
    """Milliseconds a step of each worker, `python -m MODULE *its arguments`, in each round."""
    running = {
        name: subprocess.Popen(
            [sys.executable, "-m", module, *how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, how in workers.items()
    }
    try:
        for worker in running.values():
            _measure(worker)  # compiled and warm
        return [{n: _measure(w) for n, w in running.items()} for _ in range(count)]
    finally:
        for worker in running.values():
            worker.kill()


def over(peer: str, name: str, aim: float, found: list[dict[str, float]]) -> Line:
    """How many of our steps fit into one of the peer's."""
    values = [r[peer] / r["ours"] for r in found]
    ms = {n: statistics.median(r[n] for r in found) for n in (peer, "ours")}
    detail = f"{ms[peer]:.1f} ms against {ms['ours']:.1f} ms, {len(found)} rounds"
    return Line(name, spread(values), f">= {aim:g}", statistics.median(values) >= aim, detail)


def _measure(worker: Any) -> float:
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def answer(step: Step, count: int) -> None:
    """Takes `count` steps for each line read, and answers with milliseconds a step."""
    loss = float("nan")
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(count - 1):
            step()
        loss = float(step())
        print(1e3 * (time.perf_counter() - began) / count, flush=True)
        assert loss == loss, "the loss is not a number"


def flax_step(model: Any, inputs: Any, labels: Any) -> Step:
    """A step of Adam as one writes it in plain Flax: split once, jit, the state donated."""
    import jax
    import optax
    from flax import nnx

    graph, params, _ = nnx.split(model, nnx.Param, ...)
    params = nnx.to_pure_dict(params)
    optimizer = optax.adam(1e-3)

    def update(state: Any, inputs: jax.Array, labels: jax.Array) -> tuple[Any, jax.Array]:
        def loss_of(params: Any) -> jax.Array:
            logits = nnx.merge(graph, params, {})(inputs)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        params, moments = state
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, moments = optimizer.update(grads, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    compiled = jax.jit(update, donate_argnums=0)
    state: Any = (params, optimizer.init(params))
    placed = jax.device_put((inputs, labels))

    def step() -> Any:
        nonlocal state
        state, loss = compiled(state, *placed)
        return loss

    return step


def keras_step(layers: Sequence[Any], inputs: Any, labels: Any) -> Step:
    """A step of Adam of a Keras model, compiled by TensorFlow."""
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.Input(inputs.shape[1:]), *layers])
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = tf.keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    x, y = tf.constant(inputs), tf.constant(labels)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        return loss

    return step


def torch_step(model: Any, optimizer: Any, inputs: Any, labels: Any) -> Step:
    """A step in PyTorch, eager; `model` gives logits."""
    import torch

    x, y = torch.from_numpy(inputs), torch.from_numpy(labels).long()

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
