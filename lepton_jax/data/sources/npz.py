"""Arrays in one `.npz` file: `train_image`, `train_label`, `test_image`, ..., `classes`."""

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lepton_jax.config.schema import PathText, Running
from lepton_jax.data.account import Account
from lepton_jax.data.naming import is_split_name, name_splits
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.sources.classes import label_column, named_labels, read_labels
from lepton_jax.data.spec import LeftOut
from lepton_jax.errors import UserError, describe_error, list_names
from lepton_jax.io.files import name_nearest

_NO_NUMBERS = {"U": "texts", "S": "texts", "c": "complex numbers", "M": "dates", "m": "durations"}
"""Kinds of arrays that are no fields, in words; any other is of records."""

_NAMED = 4
"""Arrays that the place of an example names."""

MOST_CLASSES = 1_000_000
"""Greater labels are numbers that name no class."""


def npz(*, path: Running[PathText]) -> Source:
    """Reads the arrays of a `.npz` file, as `numpy.savez(path, train_image=..., train_label=...)`
    writes it.

    A key is split and field, parted at the first underscore; the first axis counts the examples.
    `classes` (names) is optional: without it they are '0', '1', ... up to the greatest label, or
    the labels of 'train' themselves, where they are texts or truth values.

    Keys:
      path: the file.

    Raises:
      UserError: naming the file and what is wrong with it.
    """
    arrays = _read_arrays(path)
    names = arrays.pop("classes", None)
    digest = hashlib.sha256()
    splits: dict[str, dict[str, np.ndarray]] = {}
    for key, array in sorted(arrays.items()):
        split, field = _split_key(path, key)
        if array.ndim == 0:
            raise UserError(f"{path}: {key!r} is a single number, expected an array of examples")
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        is_time = array.dtype.kind in "mM"  # which numpy lends to nobody as a buffer
        digest.update(array.tobytes() if is_time else np.ascontiguousarray(array).data)
        splits.setdefault(split, {})[field] = array
    if not splits:
        raise UserError(f"{path}: no arrays; expected keys such as 'train_image', 'train_label'")
    by_name = name_splits({name: name for name in splits}, path)
    fields = {by_name[name]: of_split for name, of_split in splits.items()}
    account = Account()
    classes = _read_classes(path, fields, None if names is None else _names(path, names), account)
    digest.update(repr(classes).encode())
    left_out = _left_out(fields)
    try:
        columns = {
            ours: _Arrays(fields[ours], path, tuple(f"{name}_{field}" for field in fields[ours]))
            for name, ours in by_name.items()
        }
    except ValueError as e:
        raise UserError(f"{path}: {e}") from None
    return Source(
        columns,
        classes,
        digest.hexdigest(),
        f"arrays of {path}",
        columns=tuple(dict.fromkeys(field for of_split in fields.values() for field in of_split)),
        left_out=left_out,
        account=account,
    )


class _Arrays(Columns):
    """Arrays of a file. `keys`: what they are called there."""

    def __init__(self, columns: Mapping[str, np.ndarray], path: str, keys: tuple[str, ...]):
        super().__init__(columns)
        self._path, self._keys = path, keys

    def origin(self, index: int, /) -> str:
        return f"row {index} of {list_names(self._keys, _NAMED)} in {self._path}"


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    key = ""
    try:
        file = np.load(os.path.expanduser(path), allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise UserError(f"{path}: a single array (.npy), expected a .npz file of several")
        arrays = {}
        with file:
            for key in file.files:
                if key in arrays:
                    raise UserError(f"{path}: holds {key!r} twice")
                arrays[key] = file[key]
                if not isinstance(arrays[key], np.ndarray):  # the bytes of another file
                    raise UserError(f"{path}: {key!r} is no array")
        return arrays
    except FileNotFoundError:
        near = name_nearest(os.path.expanduser(path))
        raise UserError(f"{path}: no such file{near} (data.source.path)") from None
    except (UserError, MemoryError):
        raise
    except Exception as e:  # noqa: BLE001  numpy raises anything on a damaged file
        if "Object arrays" in str(e):
            raise UserError(
                f"{path}: {key!r} holds Python objects, expected a .npz file of plain arrays; "
                f"save it by its type, as {key}.astype(str), or leave it out"
            ) from None
        # numpy takes what is no archive for a pickle, and says how to trust one.
        said = "it is no archive" if "pickle" in str(e) else describe_error(e)
        raise UserError(
            f"{path}: not a readable .npz file of plain arrays: {said}; write one by numpy.savez"
        ) from None


def _split_key(path: str, key: str) -> tuple[str, str]:
    """Returns the split and the field that a key names."""
    split, underscore, field = key.partition("_")
    if not (split and underscore and field):
        raise UserError(f"{path}: expected keys such as 'train_image', got {key!r}")
    before, _, after = key.rpartition("_")
    if is_split_name(after) and not is_split_name(split):
        called = {"x": "image", "y": "label"}.get(before.lower(), before)
        raise UserError(
            f"{path}: expected keys such as 'train_image', got {key!r}; numpy.savez(path, "
            f"{after}_{called}={key}, ...) puts the split first"
        )
    return split, field


def _names(path: str, classes: np.ndarray) -> tuple[str, ...]:
    try:
        names = tuple(map(_text, classes.tolist() if classes.ndim == 1 else ()))
    except UnicodeDecodeError:
        names = ()
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"{path}: 'classes' is {classes.dtype} {list(classes.shape)}, expected a list of "
            "different names"
        )
    return names


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _read_classes(
    path: str,
    splits: dict[str, dict[str, np.ndarray]],
    names: tuple[str, ...] | None,
    account: Account,
) -> tuple[str, ...]:
    """Returns the names of the classes, and makes numbers of labels that are texts or truth
    values.
    """
    labels = {name: fields["label"] for name, fields in splits.items() if "label" in fields}
    if not labels or any(label.ndim != 1 for label in labels.values()):
        return names or ()
    kinds = {label.dtype.kind for label in labels.values()}
    if kinds <= {"i", "u"}:
        most = max((int(label.max()) for label in labels.values() if label.size), default=-1)
        return names or tuple(map(str, range(most + 1 if most < MOST_CLASSES else 0)))
    if not (kinds <= {"U", "S"} or (kinds == {"b"} and names is None)):
        return names or ()
    columns = {
        split: label_column(_texts(path, split, label), _origin(path, split))
        for split, label in labels.items()
    }
    if names is not None:
        classes, numbers = names, named_labels(columns, names, "label")
    else:
        classes, numbers = read_labels(columns, "label", account)
    for split, label in numbers.items():
        splits[split]["label"] = label
    return classes


def _origin(path: str, split: str) -> Callable[[int], str]:
    """Returns a function that says where a label lies."""
    return lambda i: f"{path}, {split}_label[{i}]"


def _texts(path: str, split: str, label: np.ndarray) -> list[Any]:
    try:
        return [v.decode() if isinstance(v, bytes) else v for v in label.tolist()]
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: the labels of {split!r} are not UTF-8: {e}") from None


def _left_out(splits: Mapping[str, dict[str, np.ndarray]]) -> dict[str, LeftOut]:
    """Returns the fields that no device can hold. Integers of 64 bits become Python objects, for a
    host transform alone.
    """
    left_out = {}
    for split, fields in splits.items():
        for name, array in fields.items():
            if array.dtype.kind not in "biuf":
                left_out[name] = LeftOut(_NO_NUMBERS.get(array.dtype.kind, "records"))
            elif array.dtype.kind in "iu" and not _fits(array) and name != "label":
                left_out[name] = LeftOut("integers of more than 32 bits", f"{split}_{name}")
    for fields in splits.values():
        for name in left_out.keys() & fields.keys():
            if fields[name].dtype.kind in "iu":
                fields[name] = fields[name].astype(object)
    return left_out


def _fits(array: np.ndarray) -> bool:
    narrow = np.iinfo(np.int32 if array.dtype.kind == "i" else np.uint32)
    return not array.size or (array.min() >= narrow.min and array.max() <= narrow.max)
