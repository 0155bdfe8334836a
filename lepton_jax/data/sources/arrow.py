"""Arrow files: data sets that Hugging Face's `datasets` saved, read with pyarrow alone.

The files are memory-mapped: any example is read in place, whatever the size of the set.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lepton_jax.config.schema import PathText, Running
from lepton_jax.data.account import Account
from lepton_jax.data.labels import HIDDEN
from lepton_jax.data.naming import name_splits, split_name
from lepton_jax.data.source import Source, Split
from lepton_jax.data.sources.arrow_tables import (
    Part,
    arrow_labels,
    check_shards,
    holds_images,
    image_of_scalar,
    is_image_type,
    is_text,
    left_out_columns,
    mapped_table,
)
from lepton_jax.data.sources.classes import (
    named_labels,
    read_labels,
    refuse_missing,
    withhold_others,
    written_out,
)
from lepton_jax.data.sources.columns import DIVIDING, lacks_columns, note_dividing
from lepton_jax.data.spec import SHOWN
from lepton_jax.errors import UserError, did_you_mean, list_names
from lepton_jax.transforms.host import Element


@dataclass(frozen=True)
class ArrowRows:
    """The rows of Arrow files, one after the other. Elements: `image` uint8 [H, W, 1 or 3],
    `label` int32 where the set has labels, and its other columns of numbers and text.

    `shown_files` are the files as a person knows them, and `fields` the names of fields by the
    names of their columns. The values of `objects` are Python objects: fields for a host transform
    alone. `labels` int32 [N] are None where there are no classes. Pickled, it is the names of the
    files and the labels.
    """

    files: tuple[str, ...]
    shown_files: tuple[str, ...]
    fields: Mapping[str, str]
    objects: Collection[str]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return mapped_table(self.files).num_rows

    def __getitem__(self, index: int, /) -> Element:
        table = mapped_table(self.files)
        element: Element = {}
        for column in table.column_names:
            field = self.fields.get(column, column)
            if column not in self.fields and field in self.fields.values():
                continue  # another column has its name
            if field == "label" and self.labels is not None:
                element[field] = self.labels[index]
            else:
                element[field] = self._value(column, table.column(column)[index], index)
        if self.labels is not None:  # also where a split has no such column
            element.setdefault("label", self.labels[index])
        return element

    def origin(self, index: int, /) -> str:
        for file, name in zip(self.files, self.shown_files, strict=True):
            rows = mapped_table((file,)).num_rows
            if index < rows:
                return f"{name}, row {index}"
            index -= rows
        return ""

    def _value(self, column: str, value: pa.Scalar, index: int) -> Any:
        if is_image_type(value.type) and column not in self.objects:
            return image_of_scalar(value, self.origin(index))
        try:
            content = value.as_py()
        except UnicodeDecodeError as e:
            where = f"{self.origin(index)}: the column {column!r}"
            raise UserError(f"{where} is not UTF-8: {e.reason} at byte {e.start}") from None
        except ValueError:  # a time that Python cannot hold
            content = str(value.cast(pa.string()).as_py())
        if is_text(value.type):
            return None if content is None else content.encode()
        if column not in self.objects:
            return np.asarray(content)
        kept = np.array(None)
        kept[()] = content
        return kept


def saved_dataset(
    *, path: Running[PathText], image: str = "image", label: str | None = "label"
) -> Source:
    """Opens a folder that `save_to_disk` of a `datasets.Dataset` or a `DatasetDict` wrote.

    The classes are those of the ClassLabel, the texts of a label that is text, or else '0', '1',
    ...; with `label` None there are none.

    Keys:
      path: the folder.
      image: the column that becomes `image`.
      label: the column that becomes `label`, the class; None: there are no classes.

    Raises:
      UserError: naming what is absent from the folder, or no such column.
    """
    root = Path(path).expanduser()
    if (root / "dataset_dict.json").is_file():
        names = _read_json(root / "dataset_dict.json", "splits")["splits"]
        splits = name_splits({name: name for name in names}, path)
        folders = {splits[name]: root / name for name in names}
    elif (root / "state.json").is_file():
        name = _read_json(root / "state.json", "_data_files").get("_split")
        folders = {split_name(name or "train"): root}
    else:
        raise UserError(
            f"{path}: not a folder that datasets.save_to_disk wrote: it has neither "
            "dataset_dict.json nor state.json (data.source.path)"
        )
    digest = hashlib.sha256()
    files: dict[str, tuple[str, ...]] = {}
    features: dict[str, Mapping[str, Any]] = {}
    for split, folder in folders.items():
        state = _read_json(folder / "state.json", "_data_files")
        features[str(folder)] = _read_json(folder / "dataset_info.json").get("features") or {}
        if state.get("_indices_data_files"):
            raise UserError(
                f"{folder}: an old version of datasets saved it with a separate list of selected "
                "rows; load it with that version, and save .flatten_indices()"
            )
        data_files = [folder / f["filename"] for f in state["_data_files"]]
        files[split] = tuple(map(str, data_files))
        for file in data_files:
            size = file.stat().st_size if file.exists() else -1
            digest.update(f"{split} {file.name} {size}\n".encode())
        for described in ("state.json", "dataset_info.json"):
            digest.update((folder / described).read_bytes())
    return arrow_source(path, files, files, features, image, label, digest.hexdigest(), Account())


def _read_json(file: Path, key: str = "") -> dict[str, Any]:
    """Reads an object that `datasets` wrote, in which there is `key`."""
    try:
        read = json.loads(file.read_text("utf-8"))
    except OSError as e:
        raise UserError(f"{e.filename}: {e.strerror}; the folder is incomplete") from None
    except ValueError as e:
        raise UserError(f"{file}: not JSON: {e}; the folder was not written whole") from None
    if not isinstance(read, dict) or (key and not isinstance(read.get(key), list)):
        raise UserError(f"{file}: expected an object with a list {key!r}, as datasets writes it")
    return read


def arrow_source(
    path: str,
    files: Mapping[str, tuple[str, ...]],
    shown_files: Mapping[str, tuple[str, ...]],
    features: Mapping[str, Mapping[str, Any]],
    image: str,
    label: str | None,
    fingerprint: str,
    account: Account,
) -> Source:
    """Makes the source of Arrow files, by split.

    `shown_files` are the files as a person knows them. `features` describe the columns as
    `datasets` does, by the file or folder that says so. `image` and `label` are the columns that
    become those fields; no column becomes `label` where it is None.
    """
    parts: dict[str, Part] = {}
    for split, of_split in files.items():
        check_shards(of_split, shown_files[split])
        rows = ArrowRows(of_split, shown_files[split], {}, (), None)
        if of_split and len(rows):
            parts[split] = Part(mapped_table(of_split), rows.origin)
        elif split == "train":
            raise UserError(f"{path}: the split 'train' has no rows")
        else:
            account.note("left out", "splits without rows", repr(split))
    if not parts:
        raise UserError(f"{path}: has no rows")
    _leave_out_others(parts, shown_files, label, account)
    columns = list(dict.fromkeys(n for part in parts.values() for n in part.table.column_names))
    fields = {image: "image"} if label is None else {image: "image", label: "label"}
    for column, key in fields.items():
        if column not in (key, *columns):
            raise UserError(
                f"{path}: no column {column!r} (data.source.{key}){did_you_mean(column, columns)}; "
                f"there are: {list_names(columns)}"
            )
        if column != key and key in columns and key not in fields:
            account.note("left out", f"columns called {key!r}, as data.source.{key} names", column)
            columns.remove(key)
    left_out = {
        name: reason
        for name, reason in left_out_columns(list(parts.values()), image, label).items()
        if name in columns
    }
    for name in columns if len(parts) == 1 else ():
        table = next(iter(parts.values())).table
        if name.casefold() in DIVIDING and name != label and is_text(table.schema.field(name).type):
            note_dividing(name, table.column(name).unique().to_pylist(), account)
    classes, labels = _labels(parts, features, label, account)
    objects = frozenset(name for name, reason in left_out.items() if reason.kind != "texts")
    splits: dict[str, Split] = {
        name: ArrowRows(files[name], shown_files[name], fields, objects, labels.get(name))
        for name in parts
    }
    identity = hashlib.sha256(f"{fingerprint} {image} {label} {classes}".encode()).hexdigest()
    return Source(
        splits,
        classes,
        identity,
        f"Arrow tables of {path}",
        reading="2",
        column_keys=("image", "label"),
        columns=tuple(columns),
        left_out=left_out,
        account=account,
    )


def _leave_out_others(
    parts: dict[str, Part],
    shown_files: Mapping[str, tuple[str, ...]],
    label: str | None,
    account: Account,
) -> None:
    """Leaves out what lies beside 'train' and is no split of the same data: see `lacks_columns`."""
    for name, part in list(parts.items()):
        if "train" in parts and lacks_columns(
            name, part.table.column_names, parts["train"].table.column_names, label
        ):
            account.note("left out", "files with other columns", shown_files[name][0])
            del parts[name]


def _labels(
    parts: Mapping[str, Part],
    features: Mapping[str, Mapping[str, Any]],
    label: str | None,
    account: Account,
) -> tuple[tuple[str, ...], Mapping[str, np.ndarray]]:
    """Returns the classes, and the labels of each split. Without classes there are none: the
    column holds images or numbers, which are not counted.
    """
    having = {name: p for name, p in parts.items() if label in p.table.column_names}
    if label is None or not having or ("train" in parts and "train" not in having):
        return (), {}
    kinds = [part.table.schema.field(label).type for part in having.values()]
    if all(holds_images(part, label) for part in having.values()):
        return (), {}
    columns = {name: arrow_labels(part, label) for name, part in having.items()}
    if any(map(pa.types.is_floating, kinds)):
        for name, column in columns.items():
            refuse_missing(column, [None if v is None else "" for v in column.values], label, name)
        return (), {}
    classes = _declared_classes(features, label)
    if classes:
        labels = named_labels(columns, classes, label)
    else:
        classes, labels = read_labels(columns, label, account)
        if all(map(pa.types.is_integer, kinds)):
            numbers = written_out(classes)
            if numbers != classes:
                ours = np.asarray([HIDDEN, *map(int, classes)], np.int32)
                classes, labels = numbers, {n: ours[of + 1] for n, of in labels.items()}
    return classes, withhold_others(labels, {n: p.table.num_rows for n, p in parts.items()})


def _declared_classes(features: Mapping[str, Mapping[str, Any]], label: str) -> tuple[str, ...]:
    """Returns the names of the ClassLabel that the files declare; () where they declare none."""
    declared: dict[tuple[str, ...], str] = {}
    for where, columns in features.items():
        feature = columns.get(label)
        if isinstance(feature, Mapping) and feature.get("names"):
            declared.setdefault(tuple(feature["names"]), where)
    if len(declared) > 1:
        (one, here), (other, there) = list(declared.items())[:2]
        raise UserError(
            f"{there}: the classes of {label!r} are {list_names(other, SHOWN)}, and in {here} they "
            f"are {list_names(one, SHOWN)}; all files need the same classes in the same order"
        )
    return next(iter(declared), ())
