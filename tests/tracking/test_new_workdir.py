"""The workdir of a new run where the user names none, or asks for a fresh one."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import lepton_jax as lj
from lepton_jax.config.validation import validate_config
from lepton_jax.io.files import make_new_dir
from lepton_jax.tracking.new_workdir import make_workdir, name_run

ROOT = Path(__file__).parent.parent.parent
CONFIG = {
    "model": {"name": "tests.user_project.heads:TwoHeaded"},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "digits"}},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "train_for": "1 steps",
    "batch_size": 8,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_are_numbered_on_from_the_highest(here: Path):
    assert make_workdir("", "digits") == "runs/digits-1"
    os.makedirs("runs/digits-7")
    os.makedirs("runs/digits-old")
    assert make_workdir("", "digits") == "runs/digits-8"
    assert make_workdir("", "gpt") == "runs/gpt-1"


def test_a_fresh_run_is_in_its_folder_or_beside_it(here: Path):
    assert make_workdir("w", "digits") == "w"
    assert make_workdir("w", "digits") == "w"  # it is still empty
    (here / "w/config.json").write_text("{}")
    assert make_workdir("w/", "digits") == "w-2"
    (here / "w-2/config.json").write_text("{}")
    assert make_workdir(f"{here}/w", "digits") == f"{here}/w-3"
    (here / "resnet-50").mkdir()
    (here / "resnet-50/config.json").write_text("{}")
    assert make_workdir("resnet-50", "digits") == "resnet-50-2"


def test_after_a_numbered_run_comes_the_next_number(here: Path):
    first = Path(make_workdir("", "digits"))
    (first / "config.json").write_text("{}")
    assert make_workdir(str(first), "digits") == "runs/digits-2"


def test_processes_that_ask_at_once_get_folders_of_their_own(here: Path):
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: make_workdir("", "digits"), range(16)))
    assert len(set(made)) == 16


def test_a_file_in_the_way_is_no_new_folder(here: Path):
    (here / "w").write_text("")
    assert not make_new_dir("w")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (f"{ROOT}/configs/digits_cnn.py:tiny", "digits_cnn"),
        ("digits_cnn:tiny", "digits_cnn"),
        ("runs/digits-3/config.json", "digits"),
        ({}, "TwoHeaded"),
    ],
)
def test_a_run_is_named_after_its_recipe_record_or_model(given: object, name: str):
    assert name_run(given, validate_config(CONFIG)) == name


def test_a_start_that_fails_leaves_no_folder(here: Path):
    with pytest.raises(lj.UserError, match="needs a field"):
        lj.train({**CONFIG, "task": {"name": "signal_classification"}})
    assert os.listdir("runs") == []


def test_going_on_needs_the_run_that_is_there():
    for more in ({}, {"workdir": "w", "fresh": True}):
        with pytest.raises(lj.UserError, match="--longer goes on with a run that is there"):
            partial(lj.train, CONFIG, longer=True)(**more)
