"""What a data source is: named splits of examples that can be read in any order.

def my_source(*, path: str) -> Source: ...      # named in a config as 'my_pkg.module:my_source'
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lepton_jax.data.text.vocabulary import Vocabulary
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
    own name. `classes` may be empty; `vocabulary` is there where examples are tokens. `fingerprint`
    changes when the data changes: decoded copies are cached by it.
    """

    splits: Mapping[str, Split]
    classes: tuple[str, ...]
    fingerprint: str
    description: str
    vocabulary: Vocabulary | None = None


@dataclass(frozen=True, eq=False)
class Made:
    """A column `[N, ...]` whose examples are made when they are asked for, and never kept.

    `make`: int64 [n] -> `[n, ...]`, the examples of these numbers. Worker processes are sent it, so
    it must be of a kind that pickles. `index` int64 [N]: the number of each example.
    """

    make: Callable[[np.ndarray], np.ndarray]
    index: np.ndarray
    example_shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.example_shape)

    @property
    def nbytes(self) -> int:
        """What all of it would take in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """One example `[...]`, or those of an index array or slice `[n, ...]`."""
        found = self.make(np.atleast_1d(self.index[index]))
        return found if np.ndim(self.index[index]) else found[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def at(self, index: np.ndarray) -> "Made":
        """The column of the examples that `index` int [n] names; nothing is made yet."""
        return Made(self.make, self.index[index], self.example_shape, self.dtype)


Column = np.ndarray | Made


@dataclass(frozen=True, eq=False)
class Columns:
    """A split by its fields, `[N, ...]` each, all of one length: in memory, memory-mapped, or made
    on access.
    """

    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"expected columns of one length, got {lengths}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int, /) -> Element:
        return {name: column[index] for name, column in self.columns.items()}

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """The fields `[n, ...]` of the examples that `index` int [n] names."""
        return {
            name: column[index] if isinstance(column, Made) else np.take(column, index, axis=0)
            for name, column in self.columns.items()
        }


@dataclass(frozen=True, eq=False)
class Subset:
    """The examples of `split` that `index` int [N] names, in its order."""

    split: Split
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int, /) -> Element:
        return self.split[int(self.index[index])]


def origin(split: Split, index: int) -> str:
    """The file that an example comes from, where the split can tell; else ''."""
    if isinstance(split, Subset):
        return origin(split.split, int(split.index[index]))
    tell = getattr(split, "origin", None)
    return tell(index) if tell else ""


def labels_of(split: Split) -> np.ndarray | None:
    """The labels int [N] of a split, where they can be had without decoding its examples."""
    if isinstance(split, Subset):
        whole = labels_of(split.split)
        return None if whole is None else whole[split.index]
    if isinstance(split, Columns):
        label = split.columns.get("label")
        if isinstance(label, Made) and hasattr(split, "split"):
            return labels_of(split.split)
    else:
        label = getattr(split, "labels", None)
    if label is None or isinstance(label, Made):
        return None
    label = np.asarray(label)
    return label if label.ndim == 1 and label.dtype.kind in "iu" else None


def subset(split: Split, index: np.ndarray) -> Split:
    """The examples of `split` that `index` int [N] names; columns stay columns."""
    if isinstance(split, Columns):
        return Columns(
            {
                name: column.at(index) if isinstance(column, Made) else column[index]
                for name, column in split.columns.items()
            }
        )
    return Subset(split, index)


def split_name(name: str) -> str:
    """A split's name in our words: 'validation', 'val' and 'dev' are 'valid'."""
    return "valid" if name in ("validation", "val", "dev") else name


_NARROW = {"int64": np.int32, "uint64": np.uint32, "float64": np.float32}


def numeric(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a device can hold, in JAX's 32-bit types; text stays behind.

    Raises:
      UserError: when an integer does not fit into 32 bits.
    """
    arrays = {k: v if isinstance(v, Made) else np.asarray(v) for k, v in fields.items()}
    return {name: _narrow(name, a) for name, a in arrays.items() if a.dtype.kind in "biuf"}


def _narrow(name: str, array: Column) -> Column:
    dtype = _NARROW.get(array.dtype.name)
    if dtype is None or isinstance(array, Made):
        return array
    narrow = array.astype(dtype)
    if array.dtype.kind in "iu" and not np.array_equal(narrow, array):
        raise UserError(f"field {name!r} holds integers that do not fit into 32 bits")
    return narrow
