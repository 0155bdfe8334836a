"""Arrow files as one table: shards whose columns differ, labels, and columns that are no fields."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lepton_jax.data.sources.classes import LabelColumn, label_column
from lepton_jax.data.sources.columns import LARGEST
from lepton_jax.data.sources.images import read_image
from lepton_jax.data.spec import LeftOut
from lepton_jax.errors import UserError


class Part(NamedTuple):
    """The table of a split, and where each of its rows lies."""

    table: pa.Table
    origin: Callable[[int], str]


@functools.lru_cache(maxsize=4096)
def mapped_table(files: Sequence[str]) -> pa.Table:
    """Maps Arrow files as one table. A column that a file lacks holds nulls there; integers of
    several sizes become the widest; a categorical column holds its values.
    """
    return pa.concat_tables([_map_file(file) for file in files], promote_options="permissive")


def check_shards(files: Sequence[str], shown: Sequence[str]) -> None:
    """Checks that files can be one table. `shown` are the files as a person knows them.

    Raises:
      UserError: naming a file that cannot be read, a column that is there twice, or one that holds
        something else in another file.
    """
    first: dict[str, tuple[pa.Field, str]] = {}
    for file, name in zip(files, shown, strict=True):
        schema = _map_file(file).schema
        for field in schema:
            if schema.names.count(field.name) > 1:
                raise UserError(f"{name}: two columns are called {field.name!r}; rename one")
            before, where = first.setdefault(field.name, (field, name))
            try:
                both = pa.unify_schemas(
                    [pa.schema([before]), pa.schema([field])], promote_options="permissive"
                )
            except pa.ArrowException:
                raise UserError(
                    f"{name}: the column {field.name!r} holds {field.type}, and {before.type} in "
                    f"{where}; write all files of a split with the same columns"
                ) from None
            first[field.name] = both.field(0), where


def is_image_type(kind: pa.DataType) -> bool:
    """Returns whether a column holds encoded images: bytes, or a struct of bytes and path."""
    if pa.types.is_struct(kind):
        return {kind.field(i).name for i in range(kind.num_fields)} == {"bytes", "path"}
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def image_of_scalar(value: pa.Scalar, where: str) -> np.ndarray:
    """Reads the image uint8 [H, W, 1 or 3] of bytes, or of a struct of bytes and path."""
    data = value.as_py()
    if isinstance(data, Mapping):
        if data["bytes"] is None and data["path"]:
            return read_image(data["path"], data["path"])
        data = data["bytes"]
    if not data:
        raise UserError(f"{where}: the image is missing")
    return read_image(data, where)


def arrow_labels(part: Part, name: str) -> LabelColumn:
    """Returns the labels of a split, each distinct value once.

    Raises:
      UserError: for a column of times.
    """
    column = part.table.column(name)
    if pa.types.is_temporal(column.type):
        raise UserError(
            f"{part.origin(0)}: the label in {name!r} is a {column.type}; expected one text, whole "
            "number or truth value (data.source.label names the column)"
        )
    try:
        values = column.unique()
        of = pc.index_in(column, value_set=values)
    except pa.ArrowException:  # of lists and structs
        return label_column(column.to_pylist(), part.origin)
    return LabelColumn(values.to_pylist(), of.to_numpy(), part.origin)


def holds_images(part: Part, name: str) -> bool:
    """Returns whether a column holds encoded images, by its type and its first row."""
    column = part.table.column(name)
    if not is_image_type(column.type):
        return False
    try:
        image_of_scalar(column[0], part.origin(0))
    except UserError:
        return False
    return True


def left_out_columns(parts: Sequence[Part], image: str, label: str | None) -> dict[str, LeftOut]:
    """Returns the columns that are no fields, and why: texts, what is no number, numbers that are
    missing somewhere or do not fit into 32 bits, and what one split alone has.
    """
    names = dict.fromkeys(name for part in parts for name in part.table.column_names)
    left_out = {}
    for name in names:
        if name == label:
            continue
        reason = _judge(parts, name, image)
        if reason is not None:
            left_out[name] = reason
    return left_out


def _judge(parts: Sequence[Part], name: str, image: str) -> LeftOut | None:
    """Returns why a column is no field, or None: it is one."""
    first: str | None = None
    for part in parts:
        if name not in part.table.column_names:
            return LeftOut("values in some files alone", f"not in {part.origin(0)}")
        kind = _kind(part.table.schema.field(name).type)
        if kind not in (first or kind, "nothing"):
            return LeftOut(f"{first} and {kind}", f"{kind} in {part.origin(0)}")
        first = kind if kind != "nothing" else first
    if first not in ("numbers", "truth values", "lists", "images"):
        return LeftOut(first or "nothing")
    if name == image:
        return None
    for part in parts:
        column = part.table.column(name)
        if column.null_count:
            gap = int(pc.index(column.is_null(), True).as_py())
            return LeftOut(f"{first} with gaps", f"the first in {part.origin(gap)}")
        if first == "lists":
            flat = pc.list_flatten(column)
            if flat.null_count:
                return LeftOut("lists with gaps", part.origin(0))
            if _kind(flat.type) == "numbers" and _first_wide(flat) is not None:
                return LeftOut("lists of more than 32 bits", part.origin(0))
        if first == "numbers":
            wide = _first_wide(column)
            if wide is not None:
                return LeftOut("numbers of more than 32 bits", part.origin(wide))
        if first == "images" and not holds_images(part, name):
            return LeftOut("bytes that are no images", part.origin(0))
    return None


def _kind(kind: pa.DataType) -> str:
    """Returns what a column holds, in words."""
    if is_image_type(kind):
        return "images"
    if is_text(kind):
        return "texts"
    if pa.types.is_boolean(kind):
        return "truth values"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "numbers"
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_temporal(kind):
        return "dates or times"
    if pa.types.is_decimal(kind):
        return "decimals"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = _kind(kind.value_type)
        return "lists" if inner in ("numbers", "truth values", "lists") else f"lists of {inner}"
    return "objects"


def _first_wide(column: pa.ChunkedArray) -> int | None:
    """Returns the first row whose number does not fit into 32 bits; None where all fit."""
    if column.type.bit_width < 64 and column.type != pa.uint32():
        return None
    if pa.types.is_floating(column.type):
        size = pc.abs(column)
        wide = pc.and_(pc.greater(size, LARGEST), pc.is_finite(column))
    else:
        wide = pc.or_(pc.less(column, -(2**31)), pc.greater_equal(column, 2**31))
    row = int(pc.index(wide, True).as_py())
    return None if row < 0 else row


@functools.lru_cache(maxsize=4096)
def _map_file(file: str) -> pa.Table:
    try:
        mapped = pa.memory_map(file)
        try:
            table = pa.ipc.open_stream(mapped).read_all()
        except pa.ArrowInvalid:
            table = pa.ipc.open_file(mapped).read_all()
    except (OSError, pa.ArrowException) as e:
        raise UserError(f"{file}: not a readable Arrow file: {e}") from None
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            values = table.column(i).cast(field.type.value_type)
            table = table.set_column(i, field.name, values)
    return table
