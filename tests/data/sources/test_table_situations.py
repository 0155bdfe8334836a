"""What tables of real users hold: read right and said, or refused in one sentence."""

import csv as writer
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jax.data.source import Source
from lepton_jax.data.sources.tables import csv, jsonl
from lepton_jax.errors import UserError

ROWS = "a b,pos\nc d,neg\n"


def outline(source: Source) -> str:
    """Splits with their sizes; classes; columns that are no fields; the account."""
    sizes = ", ".join(f"{name} {len(split)}" for name, split in source.splits.items())
    unused = ", ".join(f"{n}: {kind} {where}" for n, (kind, where) in source.left_out.items())
    return f"{sizes}; classes {' '.join(source.classes)}; unused {unused}; {source.account}"


def read(make, folder: Path, content, **keys) -> str:
    """Reads a file, or a folder of files by their names; a refusal is its sentence."""
    folder.mkdir(parents=True, exist_ok=True)
    single = not isinstance(content, dict)
    for name, text in ({f"a.{make.__name__}": content} if single else content).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        said = outline(make(path=str(file if single else folder), **keys))
    except UserError as e:
        said = f"refused: {e}"
    assert len(said.splitlines()) <= 3
    return said


CSV = {
    "byte order mark": (
        b"\xef\xbb\xbflabel,text\npos,a b\nneg,c\n",
        {},
        "classes neg pos; unused text",
    ),
    "tab as two characters": ("text\tlabel\na, b\tx\nc\ty\n", {"delimiter": "\\t"}, "classes x y"),
    "a tab itself": ("text\tlabel\na, b\tx\nc\ty\n", {"delimiter": "\t"}, "classes x y"),
    "no delimiter": (ROWS, {"delimiter": ""}, r"delimiter = ''.*expected one character"),
    "delimiter of two": (ROWS, {"delimiter": ";;"}, r"delimiter = ';;'.*expected one character"),
    "delimiter is a quote": (ROWS, {"delimiter": '"'}, "expected one character"),
    "delimiter is a line end": (ROWS, {"delimiter": "\n"}, "expected one character"),
    "semicolons": (
        "text;label\na;pos\n",
        {},
        r"one column, 'text;label'.*with ';' there are 2: text",
    ),
    "tabs": ("text\tlabel\na\tpos\n", {}, r"with '\\t' there are 2: text, label"),
    "pipes": ("text|label\na|pos\n", {}, r"with '\|' there are 2"),
    "two files for valid": (
        {"train.csv": f"text,label\n{ROWS}", "dev.csv": ROWS, "validation.csv": ROWS},
        {},
        "'dev.csv' and 'validation.csv' both mean the split 'valid'",
    ),
    "tsv beside csv": (
        {"train.csv": f"text,label\n{ROWS}", "train.tsv": ROWS},
        {},
        "'train.csv' and 'train.tsv' both mean the split 'train'",
    ),
    "another case of letters": (
        {"Train.csv": f"text,label\n{ROWS}", "TEST.CSV": "text,label\nx,pos\n"},
        {},
        "test 1, train 2",
    ),
    "shards": (
        {f"train-0000{i}-of-00002.csv": f"text,label\n{ROWS}" for i in (0, 1)},
        {},
        "train 4;.*joined: 2 files of 'train'",
    ),
    "folders of splits": (
        {"train/0.csv": f"text,label\n{ROWS}", "test/part-0.csv": "text,label\nx,pos\n"},
        {},
        "test 1, train 2",
    ),
    "hidden files": (
        {"train.csv": f"text,label\n{ROWS}", "._train.csv": "\0", ".cache/train.csv": "x"},
        {},
        "train 2; classes neg pos; unused text: texts ; $",
    ),
    "a missing label": (
        f"text,label\n{ROWS}odd,\n",
        {},
        r"refused: \S+a.csv, line 4: the label is missing in 'label', as in 1 of 3 rows",
    ),
    "a blank label": (f"text,label\n{ROWS}odd, \n", {}, "line 4: the label is missing"),
    "two columns of a name": ("text,label,text\na,b,c\n", {}, "names 'text' 2 times"),
    "names that differ in blanks": ("text,label, text\na,b,c\n", {}, "names 'text' 2 times"),
    "blanks round names": ("text, label\na,x\nb,y\n", {}, "classes x y"),
    "blanks round labels": (
        "text,label\na, x\nb,x\nc,y\n",
        {},
        "classes x y;.*converted: 1 label with blanks round",
    ),
    "a long text": (f"text,label\n{'word ' * 40_000},x\nb,y\n", {}, "train 2; classes x y"),
    "an open quotation mark": (
        'text,label\na,x\n"good film,y\nbad film,x\n',
        {},
        r"line 3: a quotation mark opens in this row and does not close; .*quotes = False",
    ),
    "text behind a quotation": ('text,label\n"good" film,x\n', {}, "line 2: text follows.*quotes"),
    "quoting switched off": (
        'text,label\n"good film,x\n5" disk,y\n',
        {"quotes": False},
        "train 2; classes x y",
    ),
    "a row swallowed by quotes": (
        'text,label\n"a,x\nb",y,z\n',
        {},
        r"line 2: 3 fields, and the first line names 2.*data.source.quotes = True",
    ),
    "blank lines": (f"\ntext,label\n{ROWS}\n  \n{ROWS}\n\n", {}, "train 4; classes neg pos"),
    "lines of commas": ("text,label\na,x\n,\nb,y\n", {}, "line 3: the label is missing"),
    "CR alone": ("n,label\r1,a\r2,b\r", {}, "train 2; classes a b"),
    "wide ids": (
        "id,label\n1000000000001,x\n2,y\n",
        {},
        r"id: numbers of more than 32 bits \S+a.csv, line 2",
    ),
    "ids of 31 digits": (f"id,label\n1,x\n{'1' * 31},y\n", {}, "id: numbers of more than 32 bits"),
    "numbers beyond floats": ("n,label\n1e39,x\n2,y\n", {}, "n: numbers of more than 32 bits"),
    "an empty cell": ("n,label\n1,x\n,y\n", {}, r"n: numbers with gaps the first in .*line 3"),
    "n/a among numbers": ("n,label\n1,x\nn/a,y\n", {}, "n: numbers and texts 'n/a' in .*line 3"),
    "underscores are no digits": ("n,label\n1_000,x\n2,y\n", {}, "n: texts"),
    "digits of other scripts": ("n,label\n١٢,x\n2,y\n", {}, "n: texts"),
    "an empty column": ("n,label\n,x\n,y\n", {}, "n: nothing"),
    "an index without a name": (
        ",n,label\n0,1,x\n1,2,y\n",
        {},
        "left out: 1 column without a name",
    ),
    "labels -1 and 1": ("n,label\n1,1\n2,-1\n", {}, "classes -1 1;"),
    "labels 0.0 and 1.0": ("n,label\n1,0.0\n2,1.0\n3,1.0\n", {}, "classes 0 1;"),
    "labels 1, 2, 10": ("n,label\n1,10\n2,1\n3,2\n", {}, "classes 1 2 10;"),
    "numbers to predict": ("n,label\n1,1.5\n2,2\n", {}, r"numbers such as 1.5, .*label = None"),
    "-1 among other classes": (
        "n,label\n1,0\n2,1\n3,-1\n",
        {},
        "classes -1 0 1;.*noticed: 1 class called as hidden labels are",
    ),
    "hidden labels are -1": (
        {"train.csv": "n,label\n1,0\n2,1\n", "test.csv": "n,label\n3,-1\n4,-1\n"},
        {},
        "classes 0 1;",
    ),
    "hidden labels are blank": (
        {"train.csv": "n,label\n1,a\n2,b\n", "test.csv": "n,label\n3,\n4,\n"},
        {},
        "classes a b;",
    ),
    "test without a column of labels": (
        {"train.csv": "n,label\n1,a\n2,b\n", "test.csv": "n\n3\n4\n"},
        {},
        "classes a b;",
    ),
    "labels of test in part": (
        {"train.csv": "n,label\n1,a\n2,b\n", "test.csv": "n,label\n3,\n4,a\n"},
        {},
        r"test.csv, line 2: the label is missing in 'label', as in 1 of 2 rows of 'test'",
    ),
    "1.0 in test, 1 in train": (
        {"train.csv": "n,label\n1,0\n2,1\n", "test.csv": "n,label\n3,1.0\n"},
        {},
        "test 1, train 2; classes 0 1;",
    ),
    "a class of test alone": (
        {"train.csv": "n,label\n1,pos\n2,neg\n", "test.csv": "n,label\n3,poss\n"},
        {},
        r"test.csv, line 2: class 'poss' is not one of 'train' \(did you mean 'pos'\?\)",
    ),
    "classes of two cases": ("n,label\n1,Pos\n2,pos\n", {}, "differ in case or blanks alone"),
    "classes of two encodings": (
        "n,label\n1,caf\u00e9\n2,cafe\u0301\n",
        {},
        "noticed: 2 classes that differ in case or blanks alone",
    ),
    "a class called nan": ("n,label\n1,nan\n2,b\n", {}, r"called as missing labels are \('nan'\)"),
    "a column of splits": (
        "n,label,split\n1,a,train\n2,b,test\n",
        {},
        r"noticed: 1 column of names of splits.*data.source.split = 'split' divides the rows",
    ),
    "a column of folds": ("n,label,fold\n1,a,0\n2,b,1\n", {}, r"'fold': 0, 1\)$"),
    "divided by a column": (
        "n,label,split\n1,a,Train\n2,b,training\n",
        {"split": "split"},
        "'Train' and 'training' both mean the split 'train'",
    ),
    "divided into three": (
        "n,label,part\n1,a,train\n2,b,train\n3,a,val\n4,b,test\n",
        {"split": "part"},
        "train 2, valid 1, test 1; classes a b; unused ; $",
    ),
    "a row of no split": (
        "n,label,split\n1,a,train\n2,b,\n",
        {"split": "split"},
        r"line 3: no split in the column 'split'",
    ),
    "no row of train": ("n,label,fold\n1,a,0\n", {"split": "fold"}, r"no row is of 'train'.*'0'"),
    "split names no column": ("n,label,fold\n1,a,0\n", {"split": "folds"}, "did you mean 'fold'"),
    "header in one file alone": (
        {"train.csv": f"text,label\n{ROWS}", "test.csv": ROWS},
        {},
        r"test.csv: the names in its first line are a b, pos.*A file needs a line of names",
    ),
    "a column of one file alone": (
        {"train.csv": "n,m,label\n1,2,a\n2,3,b\n", "test.csv": "n,label\n3,a\n"},
        {},
        r"m: values in some files alone not in .*test.csv",
    ),
    "rows of train in test": (
        {"train.csv": f"text,label\n{ROWS}", "test.csv": "text,label\na b,neg\nq,pos\n"},
        {},
        r"noticed: 1 row of 'test' that 'train' has too \(\S+test.csv, line 2\)",
    ),
    "label is another column": (
        "n,label,kind\n1,5,a\n2,6,b\n",
        {"label": "kind"},
        "classes a b;.*left out: 1 column called 'label', as data.source.label names",
    ),
    "a file beside the splits": (
        {
            "train.csv": f"text,label\n{ROWS}",
            "test.csv": "text\nx\n",
            "sample_submission.csv": "id,label\n1,pos\n",
        },
        {},
        r"^test 1, train 2;.*left out: 1 file with other columns \(sample_submission.csv\)",
    ),
    "a class for each row": (
        "n,label\n" + "".join(f"1,name {i}\n" for i in range(30)),
        {},
        "noticed: 30 classes with one row in 'train'",
    ),
    "a file without a line of names": (
        ",".join(["5"] + ["0"] * 784) + "\n",
        {},
        r"names '0' 784 times: 5, 0, .*\(785 in all\). The first line names the columns",
    ),
    "JSON in a csv": ('{"text": "a"}\n', {}, "holds JSON; data.source.name = 'jsonl'"),
    "a pointer of Git LFS": ("version https://git-lfs.github.com\n", {}, "git lfs pull gets it"),
    "a web page": ("<!DOCTYPE html>\n<html>\n", {}, "is a web page"),
    "gzip": (b"\x1f\x8b\x08\0", {}, "is a gzip file; unpack it"),
    "a workbook": (b"PK\x03\x04", {}, "workbook of Excel"),
    "Parquet": (b"PAR1", {}, "data.source.name = 'parquet'"),
    "UTF-16": ("text,label\na,b\n".encode("utf-16"), {}, "is UTF-16; expected UTF-8"),
    "Latin-1": (b"text,label\nb,c\n\xe9,b\n", {}, "line 3: byte 0xe9 is not of UTF-8"),
    "empty": ("", {}, "has no rows"),
    "names alone": ("text,label\n", {}, "has no rows"),
    "other files": (
        {"train.txt": "x", "b.csv.gz": "y"},
        {},
        "no .csv or .tsv.*b.csv.gz, train.txt",
    ),
}

JSONL = {
    "byte order mark": (
        b'\xef\xbb\xbf{"x": 1, "label": "a"}\n{"x": 2, "label": "b"}\n',
        "classes a b",
    ),
    "a null label": ('{"label": "a"}\n{"label": null}\n', "line 2: the label is missing"),
    "a NaN label": ('{"label": 1.0}\n{"label": NaN}\n', "line 2: the label is missing"),
    "labels in lists": ('{"label": ["a"]}\n', r"line 1: the label in 'label' is a list, \['a'\]"),
    "labels in objects": ('{"label": {"a": 1}}\n', r"line 1: the label in 'label' is a dict"),
    "truth values": ('{"label": true}\n{"label": false}\n', "classes False True"),
    "whole floats": ('{"label": 1.0}\n{"label": 0.0}\n', "classes 0 1"),
    "half a character": (
        '{"text": "a \\ud83d", "label": "x"}\n{"text": "b", "label": "y"}\n',
        "converted: 1 row with half a character, read as '\ufffd' .*line 1",
    ),
    "a whole emoji": (
        '{"text": "\\ud83d\\ude00", "label": "x"}\n',
        "classes x; unused text: texts ; $",
    ),
    "mixed values": (
        '{"x": 1, "label": 1}\n{"x": "2", "label": 2}\n',
        "x: numbers and texts '2' in .*2",
    ),
    "numbers as texts": ('{"x": "1", "label": 1}\n', "x: texts"),
    "a number that is missing": (
        '{"x": 1, "label": 1}\n{"x": null, "label": 2}\n',
        "x: numbers with gaps",
    ),
    "a truth that is missing": (
        '{"x": true, "label": 1}\n{"x": null, "label": 2}\n',
        "x: truth values with",
    ),
    "objects": ('{"x": {"y": 1}, "label": 1}\n', "x: objects"),
    "nothing at all": ('{"x": null, "label": 1}\n', "x: nothing"),
    "more names in a row": ('{"x": 1}\n{"x": 1, "y": 2}\n', "line 2: has x, y; expected x"),
    "a name twice": ('{"x": 1, "x": 2}\n', "line 1: not JSON: the key 'x' is there twice"),
    "brackets without end": ('{"x": ' + "[" * 100_000, "line 1: too many brackets"),
    "an array": (
        '[{"x": 1}, {"x": 2}]\n',
        r"line 1: a list, expected an object \{...\} in each line",
    ),
    "printed on many lines": ('{\n  "x": 1\n}\n', "line 1: not JSON"),
    "line separators in texts": ('{"x": "a\u2028b", "label": 1}\n', "train 1"),
    "lists of whole numbers and others": (
        '{"x": [1, 2], "label": 1}\n{"x": [0.5, 2], "label": 2}\n',
        "unused ; $",
    ),
    "a list with a gap": (
        '{"x": [1, null], "label": 1}\n',
        "x: lists of other things than numbers",
    ),
    "lists in lists of two lengths": ('{"x": [[1], [2, 3]], "label": 1}\n', "x: lists of other"),
    "wide numbers in lists": (
        '{"x": [1099511627776], "label": 1}\n',
        "x: lists of more than 32 bits",
    ),
    "number of 5,000 digits": (
        '{"x": ' + "1" * 5000 + "}\n",
        "line 1: not JSON: Exceeds the limit",
    ),
}


@pytest.mark.parametrize("situation", CSV)
def test_csv_is_read_and_said_or_refused(tmp_path, situation):
    content, keys, expected = CSV[situation]
    said = read(csv, tmp_path / "it", content, **keys)

    assert re.search(expected, said), said


@pytest.mark.parametrize("situation", JSONL)
def test_jsonl_is_read_and_said_or_refused(tmp_path, situation):

    content, expected = JSONL[situation]
    said = read(jsonl, tmp_path / "it", content)
    assert re.search(expected, said), said


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=st.lists(st.tuples(TEXTS, st.sampled_from(["pos", "neg"])), min_size=1, max_size=6))
def test_every_text_that_a_writer_quotes_comes_back(tmp_path_factory, rows):
    file = tmp_path_factory.getbasetemp() / "written.csv"
    out = io.StringIO(newline="")
    table = writer.writer(out, quoting=writer.QUOTE_ALL)
    table.writerows([("text", "label"), *rows])
    file.write_bytes(out.getvalue().encode())
    source = csv(path=str(file))
    train = source.splits["train"].with_texts(("text",))
    assert [train[i]["text"] for i in range(len(train))] == [text for text, _ in rows]
    assert [source.classes[train[i]["label"]] for i in range(len(train))] == [
        kind for _, kind in rows
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(values=st.lists(st.tuples(JSON, JSON), min_size=1, max_size=4))
def test_any_json_is_read_or_refused_in_a_sentence(tmp_path_factory, values):
    rows = [json.dumps({"label": label, "x": x}) for label, x in values]
    said = read(jsonl, tmp_path_factory.getbasetemp() / "json", "\n".join(rows))
    assert said.startswith(("refused", "train"))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    content=st.binary(max_size=40)
    | st.text(st.sampled_from('ab1,;"\n\t .-'), max_size=40).map(
        lambda t: f"n,label\n{t}".encode()
    ),
    quotes=st.booleans(),
)
def test_any_bytes_are_read_or_refused_in_a_sentence(tmp_path_factory, content, quotes):
    said = read(csv, tmp_path_factory.getbasetemp() / "bytes", content, quotes=quotes)
    assert said.startswith(("refused", "train"))
