"""Arrays in one `.npz` file: `train_image`, `train_label`, `test_image`, ..., `classes`."""

import hashlib
import os
import zipfile
import zlib

import numpy as np

from lepton_jax.config.schema import Running
from lepton_jax.data.naming import name_splits
from lepton_jax.data.source import Columns, Source
from lepton_jax.errors import UserError


def npz(*, path: Running[str]) -> Source:
    """Reads the arrays of a `.npz` file, as `numpy.savez(path, train_image=..., train_label=...)`
    writes it.

    A key is split and field, parted at the first underscore; the first axis counts the examples.
    `classes` (names) is optional: without it they are '0', '1', ... up to the greatest label.

    Raises:
      UserError: naming the file and what is wrong with it.
    """
    arrays = _read_arrays(os.path.expanduser(path))
    classes = arrays.pop("classes", None)
    digest = hashlib.sha256()
    splits: dict[str, dict[str, np.ndarray]] = {}
    for key, array in sorted(arrays.items()):
        split, underscore, field = key.partition("_")
        if not (split and underscore and field):
            raise UserError(f"{path}: expected keys such as 'train_image', got {key!r}")
        if array.ndim == 0:
            raise UserError(f"{path}: {key!r} is a single number, expected an array of examples")
        digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
        splits.setdefault(split, {})[field] = array
    if not splits:
        raise UserError(f"{path}: no arrays; expected keys such as 'train_image', 'train_label'")
    try:
        names = name_splits({name: name for name in splits}, path)
        columns = {names[name]: Columns(fields) for name, fields in splits.items()}
    except ValueError as e:
        raise UserError(f"{path}: {e}") from None
    class_names = _class_names(classes) if classes is not None else _number_classes(columns)
    digest.update(repr(class_names).encode())
    return Source(columns, class_names, digest.hexdigest(), f"arrays of {path}")


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise UserError(f"{path}: a single array (.npy), expected a .npz file of several")
        with file:
            return dict(file)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file (data.source.path)") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise UserError(f"{path}: not a readable .npz file of plain arrays: {e}") from None


def _class_names(classes: np.ndarray) -> tuple[str, ...]:
    return tuple(c.decode() if isinstance(c, bytes) else str(c) for c in classes.tolist())


def _number_classes(splits: dict[str, Columns]) -> tuple[str, ...]:
    labels = [
        np.asarray(s.columns["label"]) for s in splits.values() if "label" in s.columns and len(s)
    ]
    if not labels or any(label.dtype.kind not in "iu" or label.ndim != 1 for label in labels):
        return ()
    return tuple(str(i) for i in range(max(int(label.max()) for label in labels) + 1))
