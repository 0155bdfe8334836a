"""What a data source is: named splits of examples that can be read in any order.

def my_source(*, path: str) -> Source: ...      # named in a config as 'my_pkg.module:my_source'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lepton_jax.errors import UserError

Element = dict[str, Any]
"""One raw example: arrays (images `[H, W, C]` may vary in size), numbers, or text as bytes."""


class Split(Protocol):
    """The examples of one split, in a fixed order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Element: ...


@dataclass(frozen=True)
class Source:
    """Splits of one data set.

    `splits` calls them 'train', 'valid' and 'test' where the data set has them; others keep their
    own name. `classes` may be empty. `fingerprint` changes when the data changes: decoded copies
    are cached by it.
    """

    splits: Mapping[str, Split]
    classes: tuple[str, ...]
    fingerprint: str
    description: str


@dataclass(frozen=True, eq=False)
class Columns:
    """A split in memory or memory-mapped: field name -> `[N, ...]`, all of one length."""

    columns: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"expected columns of one length, got {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int, /) -> Element:
        return {name: column[index] for name, column in self.columns.items()}


@dataclass(frozen=True, eq=False)
class Subset:
    """The examples of `split` that `index` int [N] names, in its order."""

    split: Split
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int, /) -> Element:
        return self.split[int(self.index[index])]


def subset(split: Split, index: np.ndarray) -> Split:
    """The examples of `split` that `index` int [N] names; columns stay columns."""
    if isinstance(split, Columns):
        return Columns({name: column[index] for name, column in split.columns.items()})
    return Subset(split, index)


def split_name(name: str) -> str:
    """A split's name in our words: 'validation', 'val' and 'dev' are 'valid'."""
    return "valid" if name in ("validation", "val", "dev") else name


_NARROW = {"int64": np.int32, "uint64": np.uint32, "float64": np.float32}


def numeric(fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The fields that a device can hold, in JAX's 32-bit types; text stays behind.

    Raises:
      UserError: when an integer does not fit into 32 bits.
    """
    arrays = {name: np.asarray(value) for name, value in fields.items()}
    return {name: _narrow(name, a) for name, a in arrays.items() if a.dtype.kind in "biuf"}


def _narrow(name: str, array: np.ndarray) -> np.ndarray:
    dtype = _NARROW.get(array.dtype.name)
    if dtype is None:
        return array
    narrow = array.astype(dtype)
    if array.dtype.kind in "iu" and not np.array_equal(narrow, array):
        raise UserError(f"field {name!r} holds integers that do not fit into 32 bits")
    return narrow
