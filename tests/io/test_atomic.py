"""A folder is swapped whole: also when a writer is killed, or the system cannot exchange two."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax.io import atomic
from lepton_jax.io.atomic import replace_folder


def put(target: Path, content: str) -> None:
    with replace_folder(target) as folder:
        folder.mkdir()
        (folder / "x").write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture(params=["exchange", "two renames"])
def way(request, monkeypatch):
    """The system's exchange of two folders, and the way of systems that have none."""
    if request.param == "two renames":
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    elif sys.platform not in ("linux", "darwin"):
        pytest.skip("no exchange here")
    return request.param


@pytest.mark.parametrize("name", ["b", "a b", "[x]*?", "ä", ".hidden", "b.swap"])
def test_new_folder_takes_the_place_of_the_old_and_nothing_is_left(tmp_path, way, name):
    for content in ("1", "2", "3"):
        put(tmp_path / name, content)
        assert (tmp_path / name / "x").read_text() == content
        assert names(tmp_path) == [name]


def test_there_is_no_moment_without_a_folder(tmp_path, monkeypatch):
    put(tmp_path / "b", "old")
    renamed = []
    monkeypatch.setattr(Path, "rename", lambda self, to: renamed.append(self))
    put(tmp_path / "b", "new")
    assert (tmp_path / "b" / "x").read_text() == "new"
    assert renamed == []  # one exchange, and no rename


KILLED = """
import os, sys
from pathlib import Path
from lepton_jax.io import atomic
moment, target = sys.argv[1], Path(sys.argv[2])
if moment == "between":
    atomic.exchange = lambda one, other: False
    rename = Path.rename
    def once(self, to):
        if self.name == "new":
            os._exit(9)
        return rename(self, to)
    Path.rename = once
if moment == "after":
    atomic.shutil.rmtree = lambda *a, **k: os._exit(9)
with atomic.replace_folder(target) as folder:
    folder.mkdir()
    (folder / "x").write_text("new")
    if moment == "before":
        os._exit(9)
"""


@pytest.mark.parametrize(
    ("moment", "stands"), [("before", "old"), ("between", None), ("after", "new")]
)
def test_killed_writer_leaves_one_of_both_and_the_next_cleans_up(tmp_path, moment, stands):
    put(tmp_path / "b", "old")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, moment, str(tmp_path / "b")],
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 9
    assert len(names(tmp_path)) == (1 if stands is None else 2)
    if stands:
        assert (tmp_path / "b" / "x").read_text() == stands
    with contextlib.suppress(KeyError), replace_folder(tmp_path / "b"):
        assert (tmp_path / "b" / "x").read_text() == stands or "old"  # moved back, if it was away
        raise KeyError
    assert names(tmp_path) == ["b"]
    put(tmp_path / "b", "newer")
    assert names(tmp_path) == ["b"]


def test_folder_of_a_writer_that_lives_is_left_alone(tmp_path):
    with replace_folder(tmp_path / "b") as one:
        one.mkdir()
        (one / "x").write_text("first")
        put(tmp_path / "b", "second")
        assert (one / "x").read_text() == "first"
    assert (tmp_path / "b" / "x").read_text() == "first"
    assert names(tmp_path) == ["b"]


def test_users_own_hidden_folders_are_left_alone(tmp_path):
    for name in (".b.original", ".b.12345678", ".bb.12345678.swap", ".c.swap"):
        (tmp_path / name).mkdir()
    put(tmp_path / "b", "1")
    assert len(names(tmp_path)) == 5


def test_old_folder_stays_where_the_new_one_cannot_be_moved(tmp_path, monkeypatch, way):
    put(tmp_path / "b", "old")
    rename = Path.rename

    def refuse(self, to):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, to)

    def broken(one, other):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", refuse)
    if way == "exchange":
        monkeypatch.setattr(atomic, "exchange", broken)
    with pytest.raises(OSError, match="Input/output"):
        put(tmp_path / "b", "new")
    assert (tmp_path / "b" / "x").read_text() == "old"
    assert names(tmp_path) == ["b"]


def test_links_in_a_replaced_folder_are_not_followed(tmp_path, way):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    put(tmp_path / "b", "old")
    (tmp_path / "b" / "link").symlink_to(tmp_path / "outside")
    put(tmp_path / "b", "new")
    assert names(tmp_path / "outside") == ["kept"]
