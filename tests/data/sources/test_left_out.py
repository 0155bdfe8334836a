"""Columns that are no fields: what a run says of them, and what a task that needs one is told."""

from contextlib import nullcontext

import pytest

from lepton_jax.config.components import Component
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.source import source_with_texts
from lepton_jax.data.sources.tables import csv
from lepton_jax.errors import UserError
from lepton_jax.generation.text import Sampling, stream_text
from tests.data import pipelines

PARTS = {"decode": pipelines.read(""), "valid_fraction": 0.0, "split_seed": 0}
TEXT = {
    "tokenizer": Component("tokenizer", "words", {}),
    "encode": Component("encoding", "text", {"length": 4}),
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a.csv"
    rows = ["1,007,A title,1,2000000000001,pos", "2,12,Another,,2,neg"]
    file.write_text("\n".join(["n,text,title,age,id,label", *rows]) + "\n")
    return str(file)


def test_numerals_are_texts_for_an_encoding_and_numbers_elsewhere(table):
    source = csv(path=table)
    assert source.splits["train"][0]["text"] == 7
    assert source_with_texts(source, ("text",)).splits["train"][0]["text"] == "007"


def test_a_run_says_which_columns_are_no_fields(table):
    data = load_dataset(csv(path=table), **PARTS, **TEXT)
    assert data.account.as_json()["left out"] == {
        "columns of texts": {"count": 1, "first": "title"},
        "columns of numbers with gaps": {"count": 1, "first": f"age: the first in {table}, line 3"},
        "columns of numbers of more than 32 bits": {"count": 1, "first": f"id: {table}, line 2"},
    }
    assert "left out: 1 column of texts (title)" in data.summary()


def test_a_task_that_needs_one_is_told_where_it_has_a_gap(table):
    spec = load_dataset(csv(path=table), **PARTS).spec
    with pytest.raises(UserError, match=r"'age' holds numbers with gaps \(the first in .*line 3\)"):
        spec.require("regression", "age", 0, "float")


def test_a_prompt_that_the_vocabulary_lacks_is_said(capsys):
    class Reader:
        source, context, end, unknown = "it", None, None, 1

        def prompt(self, text):
            return [1, 5, 1]

        def text(self, tokens):
            return ""

        def running(self):
            return nullcontext()

    list(stream_text(Reader(), "ROMEO", Sampling(tokens=0), []))
    assert capsys.readouterr().err == "prompt: the vocabulary lacks 2 of its 3 tokens\n"
    with pytest.raises(UserError, match="half a character"):
        list(stream_text(Reader(), "\udcff", Sampling(tokens=0), []))
