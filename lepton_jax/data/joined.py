"""Splits joined to one, in order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lepton_jax.data.source import Columns, Split, origin_of
from lepton_jax.transforms.host import Element


def join_splits(splits: Sequence[Split]) -> Split:
    """Returns the examples of all splits as one, in order; columns in memory stay columns."""
    if len(splits) == 1:
        return splits[0]
    of_columns = [split.columns for split in splits if isinstance(split, Columns)]
    in_memory = all(isinstance(c, np.ndarray) for columns in of_columns for c in columns.values())
    if len(of_columns) == len(splits) and in_memory:
        names = set.intersection(*(set(columns) for columns in of_columns))
        return Columns(
            {
                name: np.concatenate([np.asarray(columns[name]) for columns in of_columns])
                for name in of_columns[0]
                if name in names
            }
        )
    return _Joined(tuple(splits))


@dataclass(frozen=True, eq=False)
class _Joined:
    """The examples of several splits, one after the other."""

    splits: tuple[Split, ...]

    def __len__(self) -> int:
        return sum(map(len, self.splits))

    def __getitem__(self, index: int, /) -> Element:
        split, within = self._find(index)
        return split[within]

    def origin(self, index: int, /) -> str:
        return origin_of(*self._find(index))

    def _find(self, index: int) -> tuple[Split, int]:
        """Returns the split that holds an example, and its number there."""
        for split in self.splits:
            if index < len(split):
                return split, index
            index -= len(split)
        raise IndexError(index)
