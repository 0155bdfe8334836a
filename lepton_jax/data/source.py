"""What a data source is: named splits of examples that can be read in any order.

def my_source(*, path: str) -> Source: ...      # named in a config as 'my_pkg.module:my_source'

A split is anything with a length and examples by number; a list of examples is one. A split that
can tell more says so by `labels` (`LabelledSplit`) or `origin` (`LocatedSplit`). A split whose
examples are arrays of one shape is a `Columns`, and every split becomes one before it is used.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lepton_jax.data.account import Account
from lepton_jax.data.naming import name_splits
from lepton_jax.data.spec import LeftOut, Vocabulary
from lepton_jax.errors import UserError, describe_value
from lepton_jax.transforms.host import Element


class UnreadableFiles(UserError):
    """Names all files of a source that cannot be read, in place of the one that was asked for."""


class Split(Protocol):
    """The examples of one split, in a fixed order.

    With `data.train_decode` and worker processes a split is pickled.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Element: ...


class LabelledSplit(Split, Protocol):
    """A split that has its labels int [N] at hand, without decoding an example.

    None where it has not. Labels are then checked, and counted by class, when the data is loaded.
    """

    @property
    def labels(self) -> "Column | Sequence[int] | None": ...


@runtime_checkable
class LocatedSplit(Split, Protocol):
    """A split that can tell where an example lies, for messages."""

    def origin(self, index: int, /) -> str:
        """Returns the file of an example, and its place in the file; '' where that is not known."""
        ...


@runtime_checkable
class WrittenSplit(Protocol):
    """A split whose numbers are written as texts, as which an encoding may want them."""

    def with_texts(self, names: Collection[str], /) -> Split:
        """Returns the split with the columns `names` as texts."""
        ...


@dataclass(frozen=True)
class Source:
    """The splits of one data set.

    `splits` calls them 'train', 'valid' and 'test' where the data set has them; others keep their
    own name. `classes` may be empty; `vocabulary` is there where examples are tokens. `fingerprint`
    changes when the data changes: decoded copies are cached by it.
    """

    splits: Mapping[str, Split]
    classes: tuple[str, ...]
    fingerprint: str
    description: str
    vocabulary: Vocabulary | None = None
    column_keys: tuple[str, ...] = ()
    """Fields whose column a key of the source names, as `data.source.image` does: for errors."""
    columns: tuple[str, ...] = ()
    """The columns of the data as they are called there, of every kind: for errors."""
    left_out: Mapping[str, LeftOut] = field(default_factory=dict, compare=False)
    """The columns that are no fields, such as texts, which an encoding may read."""
    account: Account = field(default_factory=Account, compare=False)
    """What was left out, joined, renamed or converted."""
    licence: str = ""
    """Under which the data may be used, as its maker says; '' where that is not known."""
    reading: str = ""
    """Changes when the source comes to read the same data otherwise: decoded copies are made anew,
    and the fingerprint stays."""


@dataclass(frozen=True, eq=False)
class LazyColumn:
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
        """The bytes that all examples would take in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, index: Any, /) -> np.ndarray:
        """Makes one example `[...]`, or the examples `[n, ...]` of an index array or a slice."""
        examples = self.make(np.atleast_1d(self.index[index]))
        return examples if np.ndim(self.index[index]) else examples[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def select(self, index: np.ndarray) -> "LazyColumn":
        """Returns the column of the examples that `index` int [n] names; nothing is made yet."""
        return LazyColumn(self.make, self.index[index], self.example_shape, self.dtype)


Column = np.ndarray | LazyColumn


class Columns:
    """A split by its fields, `columns[name]` `[N, ...]`, all of one length.

    This class holds columns in memory, or columns that are made on access. `CachedColumns` maps
    them from files, and `DecodedEachEpoch` makes other examples in every epoch.

    Raises:
      ValueError: when the columns differ in length.
    """

    changes_each_epoch = False
    """Whether training examples differ from epoch to epoch, so that none of them can be kept."""

    def __init__(self, columns: Mapping[str, Column]):
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"expected columns of one length, got {lengths}")
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int, /) -> Element:
        return {name: column[index] for name, column in self.columns.items()}

    @property
    def labels(self) -> Column | None:
        return self.columns.get("label")

    def rows(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the fields `[n, ...]` of the examples that `index` int [n] names."""
        return {
            name: column[index]
            if isinstance(column, LazyColumn)
            else np.take(column, index, axis=0)
            for name, column in self.columns.items()
        }

    def training_rows(
        self, index: np.ndarray, epochs: np.ndarray, seed: int
    ) -> dict[str, np.ndarray]:
        """Returns the fields `[n, ...]` of the examples `index` int [n] as training sees them in
        `epochs` int [n], one for each. They are `rows(index)` unless `changes_each_epoch`.
        """
        return self.rows(index)


@dataclass(frozen=True, eq=False)
class Subset:
    """The examples of `split` that `index` int [N] names, in its order."""

    split: Split
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int, /) -> Element:
        return self.split[int(self.index[index])]

    @property
    def labels(self) -> np.ndarray | None:
        labels = labels_of(self.split)
        return None if labels is None else labels[self.index]

    def origin(self, index: int, /) -> str:
        return origin_of(self.split, int(self.index[index]))


@dataclass(frozen=True, eq=False)
class MappedSplit:
    """The examples of `split`, each through `function` when it is read."""

    split: Split
    function: Callable[[Element], Element]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int, /) -> Element:
        return self.function(self.split[index])

    def origin(self, index: int, /) -> str:
        return origin_of(self.split, index)


def select_examples(split: Split, index: np.ndarray) -> Split:
    """Returns the examples of `split` that `index` int [N] names; columns stay columns."""
    if isinstance(split, Columns):
        return Columns(
            {
                name: column.select(index) if isinstance(column, LazyColumn) else column[index]
                for name, column in split.columns.items()
            }
        )
    return Subset(split, index)


def labels_of(split: Split) -> np.ndarray | None:
    """Returns the labels int [N] of a split, where they can be had without decoding examples."""
    # Not by isinstance(split, LabelledSplit), which computes a property to see whether it is there.
    labels: Column | Sequence[int] | None = getattr(split, "labels", None)
    if labels is None or isinstance(labels, LazyColumn):
        return None
    labels = np.asarray(labels)
    return labels if labels.ndim == 1 and labels.dtype.kind in "iu" else None


def origin_of(split: Split, index: int) -> str:
    """Returns the file that an example comes from, where the split can tell; else ''."""
    return split.origin(index) if isinstance(split, LocatedSplit) else ""


def source_with_texts(source: Source, names: Collection[str]) -> Source:
    """Returns a source whose columns `names` are texts as they are written, numerals too."""
    splits = {
        name: split.with_texts(names) if isinstance(split, WrittenSplit) else split
        for name, split in source.splits.items()
    }
    return replace(source, splits=splits)


def source_with_our_names(source: Source) -> Source:
    """Returns the source with its splits called 'train', 'valid' and 'test', as they are meant."""
    names = name_splits({name: name for name in source.splits}, source.description)
    if all(ours == theirs for theirs, ours in names.items()):
        return source
    account = Account()
    account.add(source.account)
    for theirs, ours in names.items():
        if ours != theirs:
            account.note("renamed", "splits", f"{theirs!r} is {ours!r}")
    splits = {names[name]: split for name, split in source.splits.items()}
    return replace(source, splits=splits, account=account)


def check_source(name: str, source: Any) -> None:
    """Checks what a source returned. Raises `UserError` when it is no `Source`, or has no splits
    that can be counted and read by number.
    """
    if not isinstance(source, Source):
        kind = type(source).__name__
        raise UserError(f"source {name} returned a {kind}, expected a lepton_jax Source")
    if not isinstance(source.splits, Mapping):
        raise UserError(
            f"source {name}: its splits are {describe_value(source.splits)}; expected "
            "{'train': split, ...}"
        )
    for split, examples in source.splits.items():
        missing = [m for m in ("__len__", "__getitem__") if not hasattr(type(examples), m)]
        if missing:
            raise UserError(
                f"source {name}: split {split!r} is a {type(examples).__name__} without "
                f"{' and '.join(missing)}; expected a list of examples, or an object that has both"
            )
