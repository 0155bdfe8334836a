"""Says where the examples of 'train' come from, though folds and 'valid' were taken out of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lepton_jax.data.dataset import carve_indices
from lepton_jax.data.folds import Fold, hold_out_fold
from lepton_jax.data.source import (
    Columns,
    Source,
    Split,
    Subset,
    labels_of,
    origin_of,
    source_with_our_names,
)
from lepton_jax.transforms.host import Element


def locate_training_examples(
    source: Source, *, fold: Fold | None, valid_fraction: float, split_seed: int
) -> Callable[[int], str]:
    """Returns what tells the place of an example by its number in 'train': its file, or its row in
    the source's own split.

    The arguments are those of `dataset.load_dataset`, which divides the examples likewise.
    """
    source = source_with_our_names(source)
    splits = {name: _Placed(split, name) for name, split in source.splits.items()}
    source = replace(source, splits=splits)
    if fold is not None:
        source = hold_out_fold(source, fold)
    train = source.splits["train"]
    if valid_fraction and "valid" not in source.splits:
        train = Subset(train, carve_indices(len(train), valid_fraction, split_seed)[0])
    return partial(origin_of, train)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A split of the source, each of whose examples has a place. `Columns` that are divided would
    forget from which rows they came."""

    split: Split
    name: str

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int, /) -> Element:
        # Folds look for labels in the examples of a split, but not in those of columns.
        return {} if isinstance(self.split, Columns) else self.split[index]

    @property
    def labels(self) -> np.ndarray | None:
        return labels_of(self.split)

    def origin(self, index: int, /) -> str:
        return origin_of(self.split, index) or f"row {index} of the source's own {self.name!r}"
