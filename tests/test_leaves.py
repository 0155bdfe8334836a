"""The leaves that every room may import: tables, trees, whole files, times, conditions."""

import subprocess
import sys

import pytest

from lepton_jax.config.conditions import split_condition
from lepton_jax.console import format_table
from lepton_jax.io.atomic import is_leftover, replace_file, replace_folder
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.trees import flatten_dict


def test_a_table_has_columns_as_wide_as_their_widest_cell():
    rows = [("name", "n"), ("a", "100"), ("longer", "")]
    assert format_table(rows) == ["name    n", "a       100", "longer"]
    assert format_table(rows, right={1}) == ["name      n", "a       100", "longer"]


def test_nested_dicts_are_flattened_in_their_order_and_an_empty_one_is_a_leaf():
    tree = {"b": {"y": 1, "x": {"z": [2]}}, "a": {}}
    assert list(flatten_dict(tree).items()) == [("b.y", 1), ("b.x.z", [2]), ("a", {})]
    assert flatten_dict(tree, "/").keys() == {"b/y", "b/x/z", "a"}


def test_dicts_are_flattened_without_jax():
    code = "import sys; from lepton_jax.trees import flatten_dict; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def fail_halfway():
        with replace_file(path) as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_text() == "old"
    with replace_file(path) as file:
        file.write(b"new")
        (aside,) = (p.name for p in tmp_path.iterdir() if p != path)
        assert is_leftover(aside)
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "x"
    with replace_folder(target) as folder:
        folder.mkdir()
        (folder / "a").write_text("1")

    def fail_halfway():
        with replace_folder(target) as folder:
            folder.mkdir()
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert (target / "a").read_text() == "1"
    with replace_folder(target) as folder:
        folder.mkdir()
        (folder / "b").write_text("2")
    assert [p.name for p in target.parent.iterdir()] == ["x"]
    assert [p.name for p in target.iterdir()] == ["b"]


def test_the_last_of_two_writers_of_a_folder_wins(tmp_path):
    with replace_folder(tmp_path / "x") as first:
        first.mkdir()
        (first / "mine").touch()
        with replace_folder(tmp_path / "x") as second:
            second.mkdir()
            (second / "another's").touch()
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["mine"]


def test_times_are_utc_to_the_second():
    assert utc_timestamp(86400.9) == "1970-01-02T00:00:00+00:00"
    assert utc_timestamp(86400.9, zone="Z") == "1970-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("test/accuracy>=0.98", ("test/accuracy", ">=", "0.98")),
        (" seed = 1 ", ("seed", "=", "1")),
        ("recall@5!=0", ("recall@5", "!=", "0")),
        ("name=a=b", ("name", "=", "a=b")),
    ],
)
def test_a_condition_is_a_name_a_comparison_and_a_value(text, parts):
    assert split_condition(text) == parts


@pytest.mark.parametrize("text", ["", "accuracy", ">=1", "a b>1", "a=1"])
def test_what_is_no_condition_or_another_comparison_is_refused(text):
    with pytest.raises(ValueError, match="no condition"):
        split_condition(text, (">=", ">"))
