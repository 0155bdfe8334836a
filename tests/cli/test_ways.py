"""Where data are absent, the error gives whole command lines, which run."""

import itertools
import shlex

import pytest

from lepton_jax.cli.run import run_line
from lepton_jax.cli.ways import format_ways
from lepton_jax.commands import COMMANDS
from lepton_jax.console import format_program
from lepton_jax.errors import Way


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder, which is the current one and has no data sets."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines_of(error):
    """The command lines of an error by what each is for, without the program."""
    said = [line.strip() for line in error.splitlines()]
    return {
        purpose.removeprefix("Try, ").rstrip(":"): line.rpartition(f"{format_program()} ")[2]
        for purpose, line in itertools.pairwise(said)
        if purpose.startswith("Try, ")
    }


def test_every_way_is_a_whole_line_and_the_small_form_runs(elsewhere, capsys):
    line = ["train", "--config=trec_cnn", "--workdir=w", "--config.data.source.data_dir=sets"]
    assert run_line(COMMANDS, line)[0] == 2
    error = capsys.readouterr().err
    assert error.startswith("error: tfds: 'trec' is not in sets")
    given = " ".join(line)
    ways = lines_of(error)
    assert ways == {
        "to download it": f"{given} --config.data.source.download=true",
        "with a copy that TFDS has prepared, in DIR/trec": given.replace("=sets", "=DIR"),
        "with texts of your own, in DIR/train.csv and DIR/test.csv with the columns text, label": (
            f"{' '.join(line[:3])} --config.data.source.name=csv --config.data.source.path=DIR"
        ),
        "on a little generated data, to see it run": "train --config=trec_cnn:tiny",
    }
    small = ways["on a little generated data, to see it run"]
    assert run_line(COMMANDS, [*shlex.split(small), "--dry_run"])[0] == 0


def test_texts_of_ones_own_take_the_place_of_the_set(elsewhere, capsys):
    run_line(COMMANDS, ["train", "--config=trec_cnn", "--config.data.source.data_dir=sets"])
    ways = lines_of(capsys.readouterr().err)
    own = next(line for purpose, line in ways.items() if "of your own" in purpose)
    for split in ("train", "test"):
        rows = "".join(f"how many of {i}?,{'ab'[i % 2]}\n" for i in range(40))
        (elsewhere / f"{split}.csv").write_text(f"text,label\n{rows}")
    assert run_line(COMMANDS, [*shlex.split(own.replace("DIR", ".")), "--dry_run"])[0] == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train --config=digits_cnn --workdir=w", ["train --config=digits_cnn:tiny"]),
        ("plan --config=digits_cnn:synthetic", ["plan --config=digits_cnn:tiny"]),
        ("train --config=runs/a/config.json", []),  # a record has no forms
        ("evaluate --workdir=w", ["evaluate --workdir=w"]),
    ],
)
def test_a_line_gets_the_ways_that_fit_it(line, expected):
    ways = [Way("small", form="tiny"), Way("elsewhere", before="TFDS_DATA_DIR=DIR ")]
    found = [said for said in format_ways(ways, line.split()) if not said.startswith("Try")]
    assert [said.rpartition(f"{format_program()} ")[2] for said in found] == expected
