"""A training split that is read, decoded and drawn anew whenever a batch needs it, and not kept.

What is drawn for an example is a function of (seed, epoch, example). A batch is therefore still a
function of (config, seed, k): in threads, in worker processes, and after a restart at any step.
"""

import functools
from dataclasses import dataclass

import numpy as np

from lepton_jax.boxes.check import check_boxes
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.data.decoder import Decoder
from lepton_jax.data.labels import check_label
from lepton_jax.data.source import Columns, LazyColumn, Split, labels_of
from lepton_jax.transforms.host import Draws


class DecodedEachEpoch(Columns):
    """Columns of a split that `train_decode` makes anew in every epoch: see `training_rows`.

    `rows` and `columns` hold the same examples as an evaluation sees them, after `decode`.

    Raises:
      UserError: when the first example cannot be decoded.
    """

    changes_each_epoch = True

    def __init__(
        self,
        split: Split,
        name: str,
        classes: tuple[str, ...],
        *,
        decode: Pipeline,
        train_decode: Pipeline,
    ):
        self.split = split
        self._name, self._classes = name, classes
        self._decode, self._train_decode = decode, train_decode
        self._decoder = Decoder(split, name, decode)
        self._train_decoder = Decoder(split, name, train_decode, key="data.train_decode")
        example = self._train_decoder(0, Draws(0, 0, 0))
        index = np.arange(len(split))
        super().__init__(
            {k: LazyColumn(_Field(self, k), index, v.shape, v.dtype) for k, v in example.items()}
        )

    def __reduce__(self) -> tuple:
        make = functools.partial(
            DecodedEachEpoch, decode=self._decode, train_decode=self._train_decode
        )
        return make, (self.split, self._name, self._classes)

    @property
    def labels(self) -> np.ndarray | None:
        return labels_of(self.split) if "label" in self.columns else None

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        return _stack_examples([self._decoder(int(i)) for i in index])

    def training_rows(
        self, index: np.ndarray, epochs: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        examples = []
        for i, epoch in zip(index.tolist(), epochs.tolist(), strict=True):
            example = self._train_decoder(i, Draws(seed, epoch, i))
            check_label(example, self._classes, self.split, self._name, i)
            one = {k: v[None] for k, v in example.items()}
            check_boxes(one, self._name, self._classes, start=i)
            examples.append(example)
        return _stack_examples(examples)


@dataclass(frozen=True)
class _Field:
    """int64 [n] -> one field `[n, ...]` of those examples."""

    columns: DecodedEachEpoch
    name: str

    def __call__(self, index: np.ndarray) -> np.ndarray:
        return self.columns.rows(index)[self.name]


def _stack_examples(examples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.stack([e[name] for e in examples]) for name in examples[0]}
