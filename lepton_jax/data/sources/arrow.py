"""Arrow files: data sets that Hugging Face's `datasets` saved, read with pyarrow alone.

The files are memory-mapped: any example is read in place, whatever the size of the set.
"""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lepton_jax.config.schema import Running
from lepton_jax.data.naming import split_name
from lepton_jax.data.source import Source, Split
from lepton_jax.data.sources.images import read_image
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.transforms.host import Element


@dataclass(frozen=True)
class ArrowRows:
    """The rows of Arrow files, one after the other. Elements: `image` uint8 [H, W, 1 or 3],
    `label` int32 where the set has labels, and its other columns of numbers and text.

    `shown_files` are the files as a person knows them, and `fields` the names of fields by the
    names of their columns. Pickled, it is the names of the files.
    """

    files: tuple[str, ...]
    shown_files: tuple[str, ...]
    fields: Mapping[str, str]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return _table(self.files).num_rows

    def __getitem__(self, index: int, /) -> Element:
        table = _table(self.files)
        where = self.origin(index)
        return {
            self.fields.get(column, column): self._value(table.column(column)[index], where)
            for column in table.column_names
        }

    @property
    def labels(self) -> np.ndarray | None:
        """The labels int [N], without reading an image."""
        table = _table(self.files)
        columns = [c for c in table.column_names if self.fields.get(c) == "label"]
        if not columns or _is_image(table.schema.field(columns[0]).type):
            return None
        values = table.column(columns[0]).to_pylist()
        if None in values:
            raise UserError(f"{self.origin(values.index(None))}: the label is missing")
        return np.asarray([self._label(v) for v in values])

    def origin(self, index: int, /) -> str:
        for file, name in zip(self.files, self.shown_files, strict=True):
            rows = _table((file,)).num_rows
            if index < rows:
                return f"{name}, row {index}"
            index -= rows
        return ""

    def _value(self, value: pa.Scalar, where: str) -> Any:
        if _is_image(value.type):
            data = value.as_py()
            if isinstance(data, Mapping):
                if data["bytes"] is None and data["path"]:
                    return read_image(data["path"], data["path"])
                data = data["bytes"]
            return read_image(data or b"", where)
        content = value.as_py()
        if pa.types.is_string(value.type) or pa.types.is_large_string(value.type):
            if content in self.classes:
                return np.int32(self.classes.index(content))
            return (content or "").encode()
        return np.asarray(content)

    def _label(self, value: Any) -> int:
        return self.classes.index(value) if isinstance(value, str) else value


def saved_dataset(
    *, path: Running[str], image: str = "image", label: str | None = "label"
) -> Source:
    """Opens a folder that `save_to_disk` of a `datasets.Dataset` or a `DatasetDict` wrote.

    `image` and `label` are the columns that become those fields. The classes are those of the
    ClassLabel, the texts of a label that is text, or else '0', '1', ...; with `label` None there
    are none.

    Raises:
      UserError: naming what is absent from the folder, or no such column.
    """
    root = Path(path).expanduser()
    if (root / "dataset_dict.json").is_file():
        names = json.loads((root / "dataset_dict.json").read_text())["splits"]
        folders = {split_name(name): root / name for name in names}
    elif (root / "state.json").is_file():
        name = json.loads((root / "state.json").read_text()).get("_split")
        folders = {split_name(name or "train"): root}
    else:
        raise UserError(
            f"{path}: not a folder that datasets.save_to_disk wrote: it has neither "
            "dataset_dict.json nor state.json (data.source.path)"
        )
    digest = hashlib.sha256()
    files: dict[str, tuple[str, ...]] = {}
    features: Mapping[str, Any] = {}
    for split, folder in folders.items():
        try:
            state_text = (folder / "state.json").read_text()
            info_text = (folder / "dataset_info.json").read_text()
        except OSError as e:
            raise UserError(f"{e.filename}: {e.strerror}; the folder is incomplete") from None
        state, features = json.loads(state_text), json.loads(info_text).get("features") or features
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
        digest.update((state_text + info_text).encode())
    return arrow_source(path, files, files, features, image, label, digest.hexdigest())


def arrow_source(
    path: str,
    files: Mapping[str, tuple[str, ...]],
    shown_files: Mapping[str, tuple[str, ...]],
    features: Mapping[str, Any],
    image: str,
    label: str | None,
    fingerprint: str,
) -> Source:
    """Makes the source of Arrow files, by split.

    `shown_files` are the files as a person knows them. `features` describe the columns, as
    `datasets` does. `image` and `label` are the columns that become those fields; no column
    becomes `label` where it is None.
    """
    first = next(iter(files.values()))
    columns = _table(first).column_names
    for key, column in (("image", image), ("label", label)):
        if column not in (None, key, *columns):
            near = did_you_mean(str(column), columns)
            raise UserError(
                f"{path}: no column {column!r} (data.source.{key}){near}; "
                f"there are: {', '.join(columns)}"
            )
    classes = () if label is None else _classes(files, features, label)
    fields = {image: "image"} if label is None else {image: "image", label: "label"}
    splits: dict[str, Split] = {
        name: ArrowRows(of_split, shown_files[name], fields, classes)
        for name, of_split in files.items()
    }
    identity = hashlib.sha256(f"{fingerprint} {image} {label} {classes}".encode()).hexdigest()
    described = f"Arrow tables of {path}"
    return Source(splits, classes, identity, described, column_keys=("image", "label"))


def _classes(
    files: Mapping[str, tuple[str, ...]], features: Mapping[str, Any], label: str
) -> tuple[str, ...]:
    feature = features.get(label)
    if isinstance(feature, Mapping) and feature.get("names"):
        return tuple(feature["names"])
    values: set[Any] = set()
    for split in files.values():
        table = _table(split)
        if label in table.column_names and not _is_image(table.schema.field(label).type):
            values |= set(table.column(label).unique().to_pylist())
    if values and all(isinstance(v, str) for v in values):
        return tuple(sorted(values))
    if values and all(isinstance(v, int) for v in values):
        return tuple(str(i) for i in range(max(values) + 1))
    return ()


def _is_image(kind: pa.DataType) -> bool:
    """Returns whether a column holds encoded images: bytes, or a struct of bytes and path."""
    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} == {"bytes", "path"}
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


@functools.lru_cache(maxsize=4096)
def _table(files: Sequence[str]) -> pa.Table:
    """Maps Arrow files as one table."""
    tables = []
    for file in files:
        try:
            mapped = pa.memory_map(file)
            try:
                tables.append(pa.ipc.open_stream(mapped).read_all())
            except pa.ArrowInvalid:
                tables.append(pa.ipc.open_file(mapped).read_all())
        except (OSError, pa.ArrowInvalid) as e:
            raise UserError(f"{file}: not a readable Arrow file: {e}") from None
    return pa.concat_tables(tables)
