"""A training split that is read, decoded and drawn anew whenever a batch needs it, and not kept.

What is drawn for an example is a function of (seed, epoch, example), hence a batch still is one of
(config, seed, step): in threads, in worker processes, and after a restart at any step.
"""

from dataclasses import dataclass

import numpy as np

from lepton_jax.boxes import check
from lepton_jax.data.decoder import Decoder
from lepton_jax.data.draws import Draws
from lepton_jax.data.labels import check_label
from lepton_jax.data.source import Columns, Made, Split


class Streamed(Columns):
    """`drawn` gives training examples; `rows` and `columns` the same ones as an evaluation does."""

    split: Split
    _arguments: tuple[Split, str, tuple[str, ...], str, str]
    _decoder: Decoder
    _train_decoder: Decoder

    def __init__(
        self, split: Split, name: str, classes: tuple[str, ...], *, decode: str, train_decode: str
    ):
        """Raises `UserError` when the first example cannot be decoded."""
        arguments = (split, name, classes, decode, train_decode)
        object.__setattr__(self, "split", split)
        object.__setattr__(self, "_arguments", arguments)
        object.__setattr__(self, "_decoder", Decoder(split, name, decode))
        train = Decoder(split, name, train_decode, key="data.train_decode")
        object.__setattr__(self, "_train_decoder", train)
        first = train(0, Draws(0, 0, 0))
        index = np.arange(len(split))
        super().__init__(
            {k: Made(_Field(self, k), index, v.shape, v.dtype) for k, v in first.items()}
        )

    def __reduce__(self) -> tuple:
        return _again, self._arguments

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        return _stacked([self._decoder(int(i)) for i in index])

    def drawn(self, index: np.ndarray, epoch: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """The fields `[n, ...]` of the examples `index` int [n], each as in its `epoch` int [n]."""
        _, name, classes, _, _ = self._arguments
        found = []
        for i, e in zip(index.tolist(), epoch.tolist(), strict=True):
            found.append(self._train_decoder(i, Draws(seed, e, i)))
            check_label(found[-1], classes, self.split, name, i)
            check.check({k: v[None] for k, v in found[-1].items()}, name, classes, start=i)
        return _stacked(found)


@dataclass(frozen=True)
class _Field:
    """int64 [n] -> one field of those examples."""

    streamed: Streamed
    name: str

    def __call__(self, index: np.ndarray) -> np.ndarray:
        return self.streamed.rows(index)[self.name]


def _again(
    split: Split, name: str, classes: tuple[str, ...], decode: str, train_decode: str
) -> Streamed:
    return Streamed(split, name, classes, decode=decode, train_decode=train_decode)


def _stacked(examples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([e[name] for e in examples]) for name in examples[0]}
