"""Raw examples through a host pipeline, each checked: it has the first one's fields and shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.user_code import blame
from lepton_jax.data.source import (
    Column,
    Columns,
    LazyColumn,
    Split,
    UnreadableFiles,
    labels_of,
    origin_of,
)
from lepton_jax.errors import UserError
from lepton_jax.transforms import host

_NARROW = {"i": np.int32, "u": np.uint32, "f": np.float32}


LOOKED_AT = 8
"""Examples of a split, evenly spread, that are decoded for a run that takes no step."""


class Decoder:
    """Decodes examples: `decoder(i)` -> the numeric fields of example i after the pipeline.

    Main arguments:
      name: of the split, for messages.
      pipeline: the host transforms.
    Other arguments:
      key: of the config that holds the pipeline.
    """

    def __init__(self, split: Split, name: str, pipeline: Pipeline, *, key: str = "data.decode"):
        self._split, self._name, self._key = split, name, key
        self._transform = host.build_pipeline(pipeline, key)
        self._first: dict[str, np.ndarray] | None = None

    def __call__(self, i: int, draws: host.Draws | None = None) -> dict[str, np.ndarray]:
        """Raises `UserError`, naming the example, when it is unreadable or of another kind."""
        try:
            example = numeric_fields(self._transform(self._split[i], draws))
        except UnreadableFiles:
            raise
        except (UserError, OSError) as e:
            raise UserError(f"{describe_example(self._split, self._name, i, e)}: {e}") from e
        except Exception as e:  # noqa: BLE001  whatever a user's split raises
            cure = f"the split's len() is {len(self._split)}" * isinstance(e, IndexError)
            blame(describe_example(self._split, self._name, i), e, cure=cure)
        require_fields(example, self._name)
        if self._first is None:
            self._first = {k: np.empty(v.shape, v.dtype) for k, v in example.items()}
        self._check(example, i)
        return example

    def _check(self, example: dict[str, np.ndarray], i: int) -> None:
        assert self._first is not None
        if self._first.keys() == example.keys() and all(
            example[k].shape == v.shape and example[k].dtype == v.dtype
            for k, v in self._first.items()
        ):
            return
        where = describe_example(self._split, self._name, i)
        if self._first.keys() != example.keys():
            raise UserError(
                f"{where}: has fields {sorted(example)}, the first example {sorted(self._first)}"
            )
        for field, array in example.items():
            wanted = self._first[field]
            if array.shape == wanted.shape and array.dtype == wanted.dtype:
                continue
            cure = (
                f"{self._key}='resize(...)' makes one size of them, 'rgb' or 'grayscale' one depth"
                if field == "image"
                else f"a host transform of your own in {self._key} can pad or drop it"
            )
            raise UserError(
                f"{where}: {field!r} is {array.dtype} {list(array.shape)}, in the first "
                f"example {wanted.dtype} {list(wanted.shape)}; {cure}"
            )


def undecoded_columns(decoder: Decoder, split: Split) -> Columns:
    """Returns columns of a split of which a few examples are decoded, the first and the last among
    them; the others are when they are asked for. Labels that the split has at hand are there.
    """
    index = np.arange(len(split))
    few = np.linspace(0, len(index) - 1, min(LOOKED_AT, len(index)))
    first, *_ = [decoder(int(i)) for i in few]
    columns: dict[str, Column] = {
        field: LazyColumn(_DecodedField(decoder, field), index, array.shape, array.dtype)
        for field, array in first.items()
    }
    labels = labels_of(split)
    if labels is not None and columns.get("label") is not None:
        columns["label"] = labels.astype(columns["label"].dtype)
    return Columns(columns)


@dataclass(frozen=True)
class _DecodedField:
    """int64 [n] -> one field `[n, ...]` of those examples."""

    decoder: Decoder
    name: str

    def __call__(self, index: np.ndarray) -> np.ndarray:
        return np.stack([self.decoder(int(i))[self.name] for i in index])


def describe_example(split: Split, name: str, i: int, error: Exception | str = "") -> str:
    """Returns where an example is to be found: `split 'train', example 7 (cat/3.png)`. Its file is
    left out where an `error` about it names it.
    """
    file = origin_of(split, i)
    return f"split {name!r}, example {i}" + (
        f" ({file})" if file and file not in str(error) else ""
    )


def numeric_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that a device can hold, in JAX's 32-bit types; text stays behind.

    Raises:
      UserError: when a number does not fit into 32 bits.
    """
    arrays = {k: v if isinstance(v, LazyColumn) else np.asarray(v) for k, v in fields.items()}
    return {name: _narrow(name, a) for name, a in arrays.items() if a.dtype.kind in "biuf"}


def _narrow(name: str, array: Column) -> Column:
    if isinstance(array, LazyColumn):
        return array
    kind = array.dtype.kind
    if array.dtype.itemsize <= 4 or kind == "b":
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    with np.errstate(over="ignore"):
        narrow = array.astype(_NARROW[kind])
    if kind == "f" and (np.isinf(narrow) & ~np.isinf(array)).any():
        raise UserError(f"field {name!r} holds numbers beyond float32, 3.4e38")
    if kind != "f" and not np.array_equal(narrow, array):
        wide = array[np.nonzero(narrow != array)][0] if array.ndim else array
        raise UserError(
            f"field {name!r} holds integers that do not fit into 32 bits, such as {wide}; drop or "
            "convert it by a host transform of your own in data.decode"
        )
    return narrow


def require_fields(fields: dict[str, Any], split: str) -> dict[str, Any]:
    """Returns the fields as they are.

    Raises:
      UserError: when there is none, naming the split.
    """
    if not fields:
        raise UserError(
            f"split {split!r} has no numeric field; texts need data.tokenizer and data.encode, or "
            "a host transform of your own in data.decode ('my_pkg.module:Name')"
        )
    return fields
