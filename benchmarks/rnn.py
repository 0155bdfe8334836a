"""One training step of our LSTM and GRU against Keras and PyTorch, on CPU.

A layer of 128 units over 64 steps of 128 channels, the last output to two classes, batch 64, Adam:
the whole of a step, its data given. PyTorch runs eagerly and Keras (on TensorFlow) by a compiled
function, as they come. A process each; they take turns, and a ratio is the median over rounds. A
peer that is not installed is left out.
"""

import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.pairs import Line, spread
from benchmarks.seed_cnn import measure

STEPS = 5
BATCH, LENGTH, HIDDEN, CLASSES = 64, 64, 128, 2
CELLS = ("lstm", "gru")
PEERS = {"keras": "tensorflow", "torch": "torch"}
"""The package without which there is nothing to compare with."""


def lines(pairs: int) -> list[Line]:
    peers = [name for name, package in PEERS.items() if importlib.util.find_spec(package)]
    return [line for cell in CELLS for line in _compared(cell, peers, pairs)]


def _compared(cell: str, peers: list[str], pairs: int) -> list[Line]:
    workers = {
        name: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.rnn", name, cell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("ours", *peers)
    }
    try:
        for worker in workers.values():
            measure(worker)  # compiled and warm
        rounds = [{n: measure(w) for n, w in workers.items()} for _ in range(pairs)]
    finally:
        for worker in workers.values():
            worker.kill()
    found = []
    for peer in peers:
        values = [r[peer] / r["ours"] for r in rounds]
        ms = {n: statistics.median(r[n] for r in rounds) for n in (peer, "ours")}
        detail = f"{ms[peer]:.1f} ms against {ms['ours']:.1f} ms, {pairs} rounds"
        name = f"steps/s of the {cell.upper()} over {peer}"
        found.append(Line(name, spread(values), ">= 1", statistics.median(values) >= 1, detail))
    return found


def work(name: str, cell: str) -> None:
    """Takes `STEPS` steps for each line read and answers with milliseconds a step."""
    step = {"ours": ours, "keras": keras, "torch": torch}[name](cell)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS - 1):
            step()
        loss = float(step())  # waits for all of them
        print(1e3 * (time.perf_counter() - start) / STEPS, flush=True)
        assert loss == loss


def data() -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    x_BTC = rng.normal(size=(BATCH, LENGTH, HIDDEN)).astype(np.float32)
    return x_BTC, rng.integers(0, CLASSES, BATCH).astype(np.int32)


def ours(cell: str) -> Callable[[], Any]:
    from lepton_jax.memory import tune_allocator

    tune_allocator()  # as `train` does
    import jax
    import optax
    from flax import nnx

    from lepton_jax.models.rnn import Recurrent

    class Classifier(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            keys: Any = dict(cell=cell, layers=1, bidirectional=False, dropout=0.0)
            self.recurrent = Recurrent(HIDDEN, HIDDEN, **keys, rngs=rngs)
            self.head = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

        def __call__(self, x_BTC: jax.Array) -> jax.Array:
            return self.head(self.recurrent(x_BTC, None)[0][:, -1])

    graph, params, _ = nnx.split(Classifier(nnx.Rngs(0)), nnx.Param, ...)
    params = nnx.to_pure_dict(params)
    optimizer = optax.adam(1e-3)

    def update(state: Any, x_BTC: jax.Array, label_B: jax.Array) -> tuple[Any, jax.Array]:
        def loss_of(params: Any) -> jax.Array:
            logits_BK = nnx.merge(graph, params, {})(x_BTC)
            return optax.softmax_cross_entropy_with_integer_labels(logits_BK, label_B).mean()

        params, moments = state
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, moments = optimizer.update(grads, moments, params)
        return (optax.apply_updates(params, updates), moments), loss

    compiled = jax.jit(update, donate_argnums=0)
    state: Any = (params, optimizer.init(params))
    x_BTC, label_B = jax.device_put(data())

    def step() -> Any:
        nonlocal state
        state, loss = compiled(state, x_BTC, label_B)
        return loss

    return step


def keras(cell: str) -> Callable[[], Any]:
    import tensorflow as tf

    layer = {"lstm": tf.keras.layers.LSTM, "gru": tf.keras.layers.GRU}[cell]
    model = tf.keras.Sequential(
        [tf.keras.Input((LENGTH, HIDDEN)), layer(HIDDEN), tf.keras.layers.Dense(CLASSES)]
    )
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = tf.keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    x_BTC, label_B = map(tf.constant, data())

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(label_B, model(x_BTC, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
        return loss

    return step


def torch(cell: str) -> Callable[[], Any]:
    import torch

    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    recurrent = layer(HIDDEN, HIDDEN, batch_first=True)
    head = torch.nn.Linear(HIDDEN, CLASSES)
    optimizer = torch.optim.Adam([*recurrent.parameters(), *head.parameters()], 1e-3)
    x_BTC, label_B = (torch.from_numpy(x) for x in data())

    def step() -> Any:
        optimizer.zero_grad()
        y_BTH, _ = recurrent(x_BTC)
        loss = torch.nn.functional.cross_entropy(head(y_BTH[:, -1]), label_B.long())
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


if __name__ == "__main__":
    work(*sys.argv[1:])
