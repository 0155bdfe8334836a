"""One training step of our LSTM and GRU against Keras and PyTorch, on CPU.

A layer of 128 units over 64 steps of 128 channels, the last output to two classes, batch 64, Adam:
the whole of a step, its data given. PyTorch runs eagerly and Keras (on TensorFlow) by a compiled
function, as they come. A peer that is not installed is left out.
"""

import sys
from typing import Any

import numpy as np

from benchmarks import turns
from benchmarks.pairs import Line

STEPS = 5
BATCH, LENGTH, HIDDEN, CLASSES = 64, 64, 128, 2


def lines(pairs: int) -> list[Line]:
    peers, found = turns.peers(), []
    for cell in ("lstm", "gru"):
        workers = {name: (name, cell) for name in ("ours", *peers)}
        rounds = turns.rounds("benchmarks.rnn", workers, pairs)
        for peer in peers:
            found.append(turns.over(peer, f"steps/s of the {cell.upper()} over {peer}", 1, rounds))
    return found


def data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x_BTC = rng.normal(size=(BATCH, LENGTH, HIDDEN)).astype(np.float32)
    return x_BTC, rng.integers(0, CLASSES, BATCH).astype(np.int32)


def ours(cell: str) -> turns.Step:
    from lepton_jax.training.runtime import tune_allocator

    tune_allocator()  # as `train` does
    import jax
    from flax import nnx

    from lepton_jax.models.rnn import Recurrent

    class Classifier(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            keys: Any = dict(cell=cell, layers=1, bidirectional=False, dropout=0.0)
            self.recurrent = Recurrent(HIDDEN, HIDDEN, **keys, rngs=rngs)
            self.head = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

        def __call__(self, x_BTC: jax.Array) -> jax.Array:
            return self.head(self.recurrent(x_BTC, None)[0][:, -1])

    return turns.flax_step(Classifier(nnx.Rngs(0)), *data())


def keras(cell: str) -> turns.Step:
    import tensorflow as tf

    layer = {"lstm": tf.keras.layers.LSTM, "gru": tf.keras.layers.GRU}[cell]
    return turns.keras_step([layer(HIDDEN), tf.keras.layers.Dense(CLASSES)], *data())


def torch(cell: str) -> turns.Step:
    from torch import nn, optim

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](
                HIDDEN, HIDDEN, batch_first=True
            )
            self.head = nn.Linear(HIDDEN, CLASSES)

        def forward(self, x_BTC: Any) -> Any:
            return self.head(self.recurrent(x_BTC)[0][:, -1])

    model = Classifier()
    return turns.torch_step(model, optim.Adam(model.parameters(), 1e-3), *data())


if __name__ == "__main__":
    _side, _cell = sys.argv[1:]
    turns.answer({"ours": ours, "keras": keras, "torch": torch}[_side](_cell), STEPS)
