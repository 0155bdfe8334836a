"""What Parquet files and saved data sets of real users hold: read right and said, or refused."""

import datetime
import decimal
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lepton_jax.data.sources.arrow import saved_dataset
from lepton_jax.data.sources.parquet import parquet
from lepton_jax.errors import UserError
from tests.data.jpegs import jpeg
from tests.data.sources.test_table_situations import outline

TEXT = {"text": ["a b", "c"], "label": ["pos", "neg"]}
WHOLE = {"x": [1, 2], "label": [0, 1]}
SHARD = "train-0000{}-of-00003.parquet"


def declared(columns, names):
    info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    return pa.table(columns).replace_schema_metadata({b"huggingface": json.dumps(info).encode()})


SITUATIONS = {
    "two files for valid": (
        {"train.parquet": TEXT, "dev.parquet": TEXT, "validation.parquet": TEXT},
        "'dev.parquet' and 'validation.parquet' both mean the split 'valid'",
    ),
    "hidden folders": (
        {"train.parquet": TEXT, ".ipynb_checkpoints/train.parquet": TEXT, ".cache/a.parquet": TEXT},
        "^train 2; classes neg pos; unused text: texts ; $",
    ),
    "parts in folders of splits": (
        {"train/part-0.parquet": WHOLE, "test/part-0.parquet": WHOLE},
        "test 2, train 2",
    ),
    "two data sets in one folder": (
        {"a/train/0000.parquet": WHOLE, "b/train/0000.parquet": WHOLE},
        "'a/train/' and 'b/train/' both mean the split 'train'",
    ),
    "a text spelt like a class": (
        {"text": ["pos", "x"], "label": ["pos", "neg"], "other": ["neg", "y"]},
        "train 2; classes neg pos; unused text: texts , other: texts ",
    ),
    "categories": ({**TEXT, "label": pa.array(["b", "a"]).dictionary_encode()}, "classes a b"),
    "a null label": ({**TEXT, "label": ["pos", None]}, r"parquet, row 1: the label is missing"),
    "a null number as label": ({**WHOLE, "label": [0, None]}, r"parquet, row 1: the label is miss"),
    "truth values": ({**WHOLE, "label": [True, False]}, "classes False True"),
    "labels -1 and 1": ({**WHOLE, "label": [-1, 1]}, "classes -1 1"),
    "labels far apart": ({**WHOLE, "label": [10**12, 1]}, "classes 1 1000000000000"),
    "labels in lists": ({**WHOLE, "label": [[0], [1]]}, r"the label in 'label' is a list, \[0\]"),
    "labels in structs": ({**WHOLE, "label": [{"a": 1}] * 2}, "the label in 'label' is a dict"),
    "dates as labels": ({**WHOLE, "label": [datetime.date(2020, 1, 1)] * 2}, "is a date"),
    "times as labels": (
        {**WHOLE, "label": pa.array([1, 2], pa.timestamp("ns"))},
        r"the label in 'label' is a timestamp\[ns\]",
    ),
    "bytes as labels": ({**WHOLE, "label": [b"a", b"b"]}, "the label in 'label' is a bytes, b'a'"),
    "a missing number to predict": ({**WHOLE, "label": [0.5, None]}, "row 1: the label is missing"),
    "an image that is missing": ({"image": [jpeg(0), None], "label": [0, 1]}, "image is missing"),
    "wide numbers in lists": ({**WHOLE, "v": [[2**40], [1]]}, "v: lists of more than 32 bits"),
    "folders that other programs keep": (
        {"part-0.parquet": WHOLE, "_temporary/0/part-0.parquet": WHOLE},
        "^train 2;",
    ),
    "folders named after a column": (
        {"year=2020/part-0.parquet": WHOLE, "year=2021/part-0.parquet": WHOLE},
        r"^train 4;.*left out: 1 column that folders are named after \(year=2020, year=2021\)",
    ),
    "a file beside the splits": (
        {"train.parquet": TEXT, "test.parquet": {"text": ["x"]}, "sample.parquet": {"id": [1]}},
        "^(test 1, train 2|train 2, test 1);.*left out: 1 file with other columns",
    ),
    "labels declared": (declared(WHOLE, ["cat", "dog"]), "classes cat dog"),
    "a declared label is null": (
        declared({"label": [0, None]}, ["cat", "dog"]),
        "row 1: the label",
    ),
    "labels declared in two orders": (
        {"train.parquet": declared(WHOLE, ["a", "b"]), "test.parquet": declared(WHOLE, ["b", "a"])},
        "the classes of 'label' are a, b, and in .*they are b, a; all files need the same",
    ),
    "metadata of another program": (
        pa.table(WHOLE).replace_schema_metadata({b"huggingface": b"{"}),
        "classes 0 1",
    ),
    "hidden labels": (
        {"train.parquet": WHOLE, "test.parquet": {"x": [1], "label": [-1]}},
        "classes 0 1",
    ),
    "test without a column of labels": (
        {"train.parquet": WHOLE, "test.parquet": {"x": [1]}},
        "test 1, train 2; classes 0 1; unused ; $",
    ),
    "a class of test alone": (
        {"train.parquet": WHOLE, "test.parquet": {"x": [1], "label": [5]}},
        "test.parquet, row 0: class '5' is not one of 'train'",
    ),
    "widths of shards": (
        {
            SHARD.format(0): {"x": pa.array([1, 2], pa.int64()), "label": [0, 1]},
            SHARD.format(1): {"label": [0, 1], "x": pa.array([1, 2], pa.int32())},
        },
        "train 4; classes 0 1; unused ; joined: 2 files of 'train'",
    ),
    "a null column of a shard": (
        {SHARD.format(0): WHOLE, SHARD.format(1): {"x": pa.nulls(1), "label": [0]}},
        r"x: numbers with gaps the first in \S+00001\S+, row 0",
    ),
    "a column that a shard lacks": (
        {SHARD.format(0): WHOLE, SHARD.format(1): {"label": [0]}},
        r"x: numbers with gaps the first in \S+00001\S+, row 0",
    ),
    "shards that differ": (
        {SHARD.format(0): WHOLE, SHARD.format(1): {"x": ["a"], "label": [0]}},
        r"00001\S+: the column 'x' holds string, and int64 in \S+00000",
    ),
    "categories beside texts in shards": (
        {
            SHARD.format(0): TEXT,
            SHARD.format(1): {**TEXT, "label": pa.array(["pos", "neg"]).dictionary_encode()},
        },
        "train 4; classes neg pos",
    ),
    "kinds that differ by split": (
        {"train.parquet": WHOLE, "test.parquet": {"x": ["a"], "label": [0]}},
        "x: texts and numbers",
    ),
    "a split without rows": (
        {"train.parquet": WHOLE, "test.parquet": pa.table(WHOLE).slice(0, 0)},
        r"^train 2;.*left out: 1 split without rows \('test'\)",
    ),
    "train without rows": (
        {"train.parquet": pa.table(WHOLE).slice(0, 0), "test.parquet": WHOLE},
        "the split 'train' has no rows",
    ),
    "two columns of a name": (
        pa.table([[1], [2], [0]], names=["x", "x", "label"]),
        "two columns are called 'x'; rename one",
    ),
    "another column is called image": (
        {"img": [jpeg(0)] * 2, "image": ["a", "b"], "label": [0, 1]},
        "unused ; left out: 1 column called 'image', as data.source.image names",
    ),
    "wide ids": ({**WHOLE, "id": [2**40, 1]}, r"id: numbers of more than 32 bits \S+, row 0"),
    "wide uint32": ({**WHOLE, "u": pa.array([2**32 - 1, 0], pa.uint32())}, "u: numbers of more"),
    "wide floats": ({**WHOLE, "f": [0.0, 1e300]}, r"f: numbers of more than 32 bits \S+, row 1"),
    "NaN is a number": ({**WHOLE, "f": [0.0, float("nan")]}, "unused ; $"),
    "a number that is missing": ({**WHOLE, "f": [0.5, None]}, r"f: numbers with gaps .*, row 1"),
    "a list with a gap": ({**WHOLE, "v": [[1, None], [1, 2]]}, "v: lists with gaps"),
    "lists": ({**WHOLE, "v": [[1, 3], [1, 2]]}, "unused ; $"),
    "lists of texts": ({**WHOLE, "v": [["a"], ["b"]]}, "v: lists of texts"),
    "times of nanoseconds": (
        {**WHOLE, "t": pa.array([10**18 + 1, 2], pa.timestamp("ns"))},
        "t: dates or times",
    ),
    "decimals": ({**WHOLE, "d": [decimal.Decimal("1.5")] * 2}, "d: decimals"),
    "a column of splits": (
        {**WHOLE, "split": ["train", "test"]},
        r"split: texts ; noticed: 1 column of names of splits \('split': train, test\)",
    ),
    "structs": ({**WHOLE, "s": [{"a": 1}] * 2}, "s: objects"),
    "a column of nulls": ({**WHOLE, "n": pa.nulls(2)}, "n: nothing"),
    "bytes that are no images": ({**WHOLE, "b": [b"abc", b"d"]}, "b: bytes that are no images"),
    "no such column": (TEXT, "no column 'img'"),
    "not Parquet": (b"hello", "not a readable Parquet file"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_parquet_is_read_and_said_or_refused(tmp_path, monkeypatch, situation):
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "cache"))
    content, expected = SITUATIONS[situation]
    files = isinstance(content, dict) and all(name.endswith(".parquet") for name in content)
    for name, table in (content if files else {"train.parquet": content}).items():
        file = tmp_path / "it" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(table, bytes):
            file.write_bytes(table)
        else:
            pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), file)
    renamed = situation in ("another column is called image", "no such column")
    try:
        source = parquet(path=str(tmp_path / "it"), image="img" if renamed else "image")
        said = outline(source)
        for split in source.splits.values():  # no row is a traceback
            assert split[len(split) - 1]
    except UserError as e:
        said = f"refused: {e}"
    assert re.search(expected, said), said
    assert len(said.splitlines()) <= 3


def save(folder, table, state=None):
    folder.mkdir(parents=True)
    files = [{"filename": "data.arrow"}] if table is not None else []
    if table is not None:
        file = str(folder / "data.arrow")
        with pa.OSFile(file, "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    state = json.dumps({"_data_files": files, "_split": None}) if state is None else state
    (folder / "state.json").write_text(state)
    (folder / "dataset_info.json").write_text("{}")


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": WHOLE, "test": None}, r"^train 2;.*left out: 1 split without rows \('test'\)"),
        ({"train": None, "test": WHOLE}, "the split 'train' has no rows"),
        ({"train": WHOLE, "dev": WHOLE, "validation": WHOLE}, "'dev' and 'validation' both mean"),
        (
            {"train": WHOLE, "test": {"x": [1], "label": [True]}},
            "class 'True' is not one of 'train'",
        ),
        ({"train": "{"}, r"train/state.json: not JSON.*was not written whole"),
        ({"train": "[]"}, r"train/state.json: expected an object with a list '_data_files'"),
        ({"train": WHOLE, "test": "absent"}, r"test/state.json: No such file.*incomplete"),
    ],
)
def test_a_saved_dataset_is_read_and_said_or_refused(tmp_path, splits, expected):
    for name, content in splits.items():
        if content != "absent":
            table = pa.table(content) if isinstance(content, dict) else None
            save(tmp_path / name, table, content if isinstance(content, str) else None)
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    try:
        said = outline(saved_dataset(path=str(tmp_path)))
    except UserError as e:
        said = f"refused: {e}"
    assert re.search(expected, said), said
