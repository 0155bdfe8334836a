"""One table, written as other programs write it, is read as the same table, or is refused.

A table of texts and labels is drawn, and a dialect: the format, the ends of lines, a byte order
mark, names of splits, columns that nobody needs. What is read must be the table. Then one mistake
is put into it, and the error must name the file and be short.
"""

import csv as writer
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lepton_jax.data.sources.folder import folder
from lepton_jax.data.sources.parquet import parquet
from lepton_jax.data.sources.tables import csv, jsonl
from lepton_jax.errors import UserError

SPLITS = {
    "train": ("train", "Train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "Testing"),
}
WORDS = st.sampled_from(
    ["good", "bad", "a,b", 'a "quoted" one', "two\nlines", "é", "猫", "12", "-3.5", "None", "nan",
     "null", "true", "=1+1", "  blank  ", "a\tb", "[PAD]", "'", "\u200b.", "x" * 200]
)  # fmt: skip
CLASSES = st.sampled_from(
    [("neg", "pos"), ("0", "1"), ("1", "2", "10"), ("a b", "c,d"), ("No", "Yes")]
)


@dataclass(frozen=True)
class Table:
    """Texts and labels by split: `rows['train'] = [("a text", "pos"), ...]`."""

    classes: tuple[str, ...]
    rows: dict[str, list[tuple[str, str]]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Draws a table of one to three splits; every class is in 'train'."""
    classes = draw(CLASSES)
    names = ["train", *draw(st.sampled_from([[], ["valid"], ["test"], ["valid", "test"]]))]
    rows = {}
    for name in names:
        labels = [*classes, *draw(st.lists(st.sampled_from(classes), max_size=4))]
        rows[name] = [(draw(WORDS), label) for label in labels]
    return Table(classes, rows)


@st.composite
def dialects(draw: st.DrawFn) -> dict[str, Any]:
    """Draws how a table is written."""
    return {
        "format": draw(st.sampled_from(["csv", "tsv", "jsonl", "parquet"])),
        "names": {split: draw(st.sampled_from(names)) for split, names in SPLITS.items()},
        "mark": draw(st.booleans()),
        "ends": draw(st.sampled_from(["\n", "\r\n"])),
        "last": draw(st.sampled_from(["", "\n", "\n\n"])),
        "label": draw(st.sampled_from(["label", "stars", "Kind of text"])),
        "first": draw(st.booleans()),
        "quote": draw(st.sampled_from([writer.QUOTE_MINIMAL, writer.QUOTE_ALL])),
        "extra": draw(st.sampled_from([None, "id64", "empty cell", "date", "constant"])),
        "litter": draw(st.sampled_from([None, ".ipynb_checkpoints", "__MACOSX", ".cache"])),
        "shards": draw(st.integers(1, 2)),
        "coded": draw(st.booleans()),
    }


EXTRA = {
    "id64": lambda i: 10**13 + i,
    "empty cell": lambda i: i if i else None,
    "date": lambda i: f"2026-01-0{1 + i % 9}",
    "constant": lambda i: "same",
}


def columns_of(rows: list[tuple[str, str]], how: dict[str, Any]) -> dict[str, list[Any]]:
    columns = {"text": [text for text, _ in rows], how["label"]: [label for _, label in rows]}
    if how["first"]:
        columns = dict(reversed(columns.items()))
    if how["extra"]:
        columns["more"] = [EXTRA[how["extra"]](i) for i in range(len(rows))]
    return columns


def write_split(path: Path, columns: dict[str, list[Any]], how: dict[str, Any]) -> None:
    """Writes one file of a split in a dialect."""
    rows = list(zip(*columns.values(), strict=True))
    if how["format"] == "parquet":
        table = pa.table(columns)
        if how["coded"]:
            at = table.column_names.index(how["label"])
            label = table.column(at).combine_chunks().dictionary_encode()
            table = table.set_column(at, how["label"], label)
        pq.write_table(table, path)
        return
    out = io.StringIO()
    if how["format"] == "jsonl":
        out.write(
            how["ends"].join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
        )
        out.write(how["last"])
    else:
        delimiter = "\t" if how["format"] == "tsv" else ","
        table_writer = writer.writer(
            out, delimiter=delimiter, lineterminator=how["ends"], quoting=how["quote"]
        )
        table_writer.writerows([tuple(columns), *rows])
        out.write(how["last"])
    path.write_bytes((b"\xef\xbb\xbf" if how["mark"] else b"") + out.getvalue().encode())


def write_table(folder_: Path, table: Table, how: dict[str, Any]) -> list[Path]:
    """Writes a table in a dialect; returns the files that hold its rows."""
    files = []
    for split, rows in table.rows.items():
        name = how["names"][split]
        if how["format"] == "parquet" and how["shards"] == 2 and len(rows) > 2:
            parts = [rows[:2], rows[2:]]
            paths = [folder_ / f"{name}-0000{i}-of-00002.parquet" for i in range(2)]
        else:
            parts, paths = [rows], [folder_ / f"{name}.{how['format']}"]
        for part, path in zip(parts, paths, strict=True):
            write_split(path, columns_of(part, how), how)
        files += paths
    if how["litter"]:
        (folder_ / how["litter"]).mkdir()
        write_split(
            folder_ / how["litter"] / f"train.{how['format']}",
            columns_of(table.rows["train"], how),
            how,
        )
    return files


def as_text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def read_table(folder_: Path, how: dict[str, Any]) -> Table:
    """Reads a folder with the source of the dialect's format."""
    if how["format"] == "parquet":
        source = parquet(path=str(folder_), label=how["label"])
    elif how["format"] == "jsonl":
        source = jsonl(path=str(folder_), label=how["label"])
    else:
        delimiter = {"tsv": "\t"}.get(how["format"], ",")
        source = csv(path=str(folder_), label=how["label"], delimiter=delimiter)
    rows = {
        name: [
            (as_text(split[i]["text"]), source.classes[int(split[i]["label"])])
            for i in range(len(split))
        ]
        for name, split in source.splits.items()
    }
    return Table(source.classes, rows)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@settings(max_examples=70, deadline=None, derandomize=True)
@given(table=tables(), how=dialects())
def test_a_table_in_any_dialect_is_read_as_it_was_written(tmp_path_factory, table, how):
    folder_ = tmp_path_factory.mktemp("table")
    write_table(folder_, table, how)
    read = read_table(folder_, how)
    assert read.rows == table.rows
    assert sorted(read.classes) == sorted(table.classes)


def spoil_missing_label(columns, label):
    columns[label][-1] = None


def spoil_foreign_class(columns, label):
    columns[label][-1] = "never seen"


def spoil_two_labels(columns, label):
    columns[label][-1] = ["a", "b"]


MISTAKES = [spoil_missing_label, spoil_foreign_class, spoil_two_labels]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(table=tables(), how=dialects(), spoil=st.sampled_from(MISTAKES))
def test_one_mistake_in_a_table_is_named_with_its_file(tmp_path_factory, table, how, spoil):
    folder_ = tmp_path_factory.mktemp("table")
    write_table(folder_, table, how | {"shards": 1})
    split = list(table.rows)[-1] if spoil is spoil_foreign_class else "train"
    if spoil is spoil_foreign_class and split == "train":
        return  # a class of the training split is a class
    if spoil is spoil_two_labels and how["format"] != "jsonl":
        return  # which other tables cannot hold
    columns = columns_of(table.rows[split], how)
    path = folder_ / f"{how['names'][split]}.{how['format']}"
    spoil(columns, how["label"])
    write_split(path, columns, how | {"coded": False})
    with pytest.raises(UserError) as error:
        read_table(folder_, how)
    message = str(error.value)
    assert len(message.splitlines()) <= 3
    assert path.name in message or str(folder_) in message or how["label"] in message


FORMATS = {"png": {}, "bmp": {}, "tif": {}, "webp": {"lossless": True}, "gif": {}, "jpg": {}}
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""What each orientation of EXIF does to the pixels that are stored, by the standard's table."""


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    suffix=st.sampled_from(sorted(FORMATS)),
    grey=st.booleans(),
    turn=st.sampled_from(sorted(TURNS)),
    split=st.sampled_from([None, "train", "Training"]),
    litter=st.sampled_from([None, ".DS_Store", "Thumbs.db", "._0.png"]),
    upper=st.booleans(),
)
def test_an_image_in_any_format_has_the_pixels_that_a_viewer_shows(
    tmp_path_factory, suffix, grey, turn, split, litter, upper
):
    root = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6) if grey else (4, 6, 3), np.uint8)
    if suffix == "gif" and not grey:
        pixels[..., :] = pixels[..., :1]  # 256 colours at most: greys are exact
    base = root / split if split else root
    options = dict(FORMATS[suffix])
    if suffix not in ("gif", "bmp", "tif"):  # Pillow turns a TIFF itself
        exif = Image.Exif()
        exif[0x0112] = turn
        options["exif"] = exif
    else:
        turn = 1
    for name in ("cat", "dog"):
        (base / name).mkdir(parents=True)
        file = base / name / f"0.{suffix.upper() if upper else suffix}"
        Image.fromarray(pixels).save(file, **options)
        if litter:
            (base / name / litter).write_bytes(b"\0\5\x16\7")
    source = folder(path=str(root))
    assert source.classes == ("cat", "dog")
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 2}
    image = source.splits["train"][0]["image"]
    shown = TURNS[turn](pixels if pixels.ndim == 3 else pixels[..., None])
    assert image.shape[:2] == shown.shape[:2]
    if suffix != "jpg":  # which loses some
        np.testing.assert_array_equal(
            np.broadcast_to(image, np.broadcast_shapes(image.shape, shown.shape)),
            np.broadcast_to(shown, np.broadcast_shapes(image.shape, shown.shape)),
        )
