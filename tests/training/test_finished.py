"""A finished run that is given again: its record answers, and no data are read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lepton_jax import api
from lepton_jax.config.config_file import resolve_config
from lepton_jax.training.finished import find_finished

RECIPE = str(Path(__file__).parents[2] / "configs/digits_cnn.py:tiny")


@pytest.fixture
def run(tiny_run: Callable[[str], Path], tmp_path: Path) -> Path:
    """A finished run that may be written to."""
    return shutil.copytree(tiny_run("digits_cnn"), tmp_path / "run")


def contents(folder: Path) -> dict[str, bytes]:
    kept = {p for p in folder.rglob("*") if p.is_file() and "tensorboard" not in p.parts}
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


def test_a_finished_run_is_answered_by_its_record(run: Path, capsys):
    before = contents(run)
    again = api.train(RECIPE, run)
    assert (again.taken, again.step, again.stopped) == (0, 3, False)
    assert contents(run) == before
    assert capsys.readouterr().err == ""
    first, test, pictures, *_ = str(again).splitlines()
    assert first.startswith("Nothing was left to do: the run has its 3 steps. The best is step ")
    assert test.startswith("test: ")
    assert f"{run}/confusion.png, {run}/curves.png" in pictures
    results = json.loads((run / "results.json").read_text())
    assert again.as_json()["best"]["step"] == results["checkpoint"]["step"]


def cut_status(run: Path) -> None:
    (run / "status.json").unlink()


def cut_results(run: Path) -> None:
    (run / "results.json").write_text("{")


def flip_a_byte(run: Path) -> None:
    newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    path = max(newest.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def edit_metrics(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace("0.", "1.", 1))


@pytest.mark.parametrize("damage", [cut_status, cut_results, flip_a_byte, edit_metrics])
def test_a_run_with_anything_left_to_do_or_to_mend_is_not_taken_for_it(run: Path, damage):
    config, _ = resolve_config(RECIPE, {})
    assert find_finished(config, str(run))
    damage(run)
    assert find_finished(config, str(run)) is None


def test_other_running_keys_are_for_the_run_to_note(run: Path):
    config, _ = resolve_config(RECIPE, {"keep_last": "1"})
    assert find_finished(config, str(run)) is None
