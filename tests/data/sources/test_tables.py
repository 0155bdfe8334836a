"""Tables in CSV, JSON Lines and Parquet: texts, numbers, and labels with names."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lepton_jax.config.components import TABLES, resolve_component
from lepton_jax.config.validation import validate_config
from lepton_jax.data.sources.parquet import parquet
from lepton_jax.data.sources.tables import csv, jsonl
from lepton_jax.errors import UserError


def write_csv(folder):
    (folder / "train.csv").write_text('text,kind\n"a, ""b""\nc",spam\nd,ham\n', "utf-8")
    (folder / "dev.csv").write_text("text,kind\né,ham\n", "utf-8")


def test_csv_has_texts_and_named_classes(tmp_path):
    write_csv(tmp_path)
    source = csv(path=str(tmp_path), label="kind")
    assert source.classes == ("ham", "spam")
    assert source.splits.keys() == {"train", "valid"}
    assert source.splits["train"][0] == {"text": 'a, "b"\nc', "label": 1}
    assert source.splits["train"][0]["label"].dtype == np.int32
    assert source.splits["valid"][0]["text"] == "é"
    assert source.splits["train"].origin(1).endswith("train.csv, line 4")


def test_the_fingerprint_is_of_the_contents(tmp_path):
    write_csv(tmp_path)
    before = csv(path=str(tmp_path), label="kind").fingerprint
    write_csv(tmp_path)
    assert csv(path=str(tmp_path), label="kind").fingerprint == before
    (tmp_path / "train.csv").write_text("text,kind\nd,ham\n", "utf-8")
    assert csv(path=str(tmp_path), label="kind").fingerprint != before


def test_jsonl_keeps_numbers_and_orders_classes_that_are_numbers(tmp_path):
    rows = [{"text": "a", "stars": s, "n": 2} for s in (10, 9, 1)]
    file = tmp_path / "all.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n", "utf-8")
    source = jsonl(path=str(file), label="stars")
    assert source.classes == ("1", "9", "10")
    assert source.splits.keys() == {"train"}
    assert source.splits["train"][0] == {"text": "a", "label": 2, "n": 2}


def test_columns_of_nothing_but_numbers_are_numbers(tmp_path):
    (tmp_path / "train.csv").write_text("text,n,x,mixed\na,1,1,1\nb,-2,1e3,two\n", "utf-8")
    source = csv(path=str(tmp_path))
    assert source.classes == ()
    train = source.splits["train"]
    assert train[1] == {"text": "b", "n": -2, "x": 1000.0, "mixed": "two"}
    assert isinstance(train[0]["x"], float)  # as the others of its column


@pytest.mark.parametrize("make", [csv, jsonl])
def test_numbers_are_not_taken_for_classes(tmp_path, make):
    (tmp_path / "x.csv").write_text("a,label\n1,151.5\n2,75\n", "utf-8")
    (tmp_path / "x.jsonl").write_text('{"a": 1, "label": 151.5}\n{"a": 2, "label": 75}\n', "utf-8")
    path = str(tmp_path / f"x.{make.__name__}")
    with pytest.raises(UserError, match=r"'label' holds numbers such as 151.5.*label = None"):
        make(path=path)
    assert make(path=path, label=None).splits["train"][0] == {"a": 1, "label": 151.5}


@pytest.mark.parametrize(
    ("make", "name", "content", "message"),
    [
        (csv, "x.csv", b"a,b\n1,2\n3\n", r"x\.csv, line 3: 1 fields, and the first line names 2"),
        (csv, "x.csv", b"a,b\n", r"has no rows"),
        (csv, "x.csv", b"a\n\xe9\n", r"x\.csv, line 2: byte 0xe9 .*expected UTF-8"),
        (jsonl, "x.jsonl", b'{"a": 1}\n{"a": 1\n', r"x\.jsonl, line 2: not JSON"),
        (jsonl, "x.jsonl", b'{"a": 1, "b": 2}\n{"a": 1}\n', r"line 2: has a; expected a, b"),
        (jsonl, "x.jsonl", b"[1]\n", r"line 1: a list, expected an object"),
        (jsonl, "y.txt", b"", r"no \.jsonl file there"),
    ],
)
def test_what_is_not_a_table_is_named_with_its_line(tmp_path, make, name, content, message):
    (tmp_path / name).write_bytes(content)
    where = tmp_path if name == "y.txt" else tmp_path / name
    with pytest.raises(UserError, match=message):
        make(path=str(where))


def test_a_class_that_training_has_not_is_named(tmp_path):
    write_csv(tmp_path)
    (tmp_path / "dev.csv").write_text("text,kind\né,harm\n", "utf-8")
    with pytest.raises(UserError, match=r"dev\.csv, line 2: class 'harm'.*did you mean 'ham'"):
        csv(path=str(tmp_path), label="kind")
    with pytest.raises(UserError, match=r"no column 'kinds'.*did you mean 'kind'"):
        csv(path=str(tmp_path), label="kinds")


def test_parquet_without_images_holds_texts(tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "cache"))
    table = pa.table({"text": ["a", "é"], "label": ["no", "yes"]})
    pq.write_table(table, tmp_path / "train.parquet")
    source = parquet(path=str(tmp_path))
    assert source.classes == ("no", "yes")
    assert source.splits["train"][1] == {"text": "é".encode(), "label": 1}


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "saved_dataset"])
def test_every_source_of_tables_may_be_without_classes(name):
    config = {
        "model": {"name": "mlp"},
        "task": {"name": "image_classification"},
        "data": {"source": {"name": name, "path": "x", "label": None}},
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
        "batch_size": 2,
        "train_for": "1 steps",
    }
    assert validate_config(config).data.source.keys["label"] is None


def test_the_page_lists_each_source_with_its_keys():
    page = (Path(__file__).parents[3] / "docs/extending.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*?) ?\|$", page, re.MULTILINE)
    listed = {name: keys for name, keys in rows if name in TABLES["source"]}
    assert listed == {
        name: ", ".join(
            f"`{key}`" if p.default is p.empty else f"`{key}={_written(p.default)}`"
            for key, p in inspect.signature(resolve_component("source", name)).parameters.items()
        )
        for name in TABLES["source"]
    }


def _written(default):
    return f'"{default}"' if isinstance(default, str) else repr(default)
