"""Searches: what is drawn, who goes on at a rung, and what is left when one is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lepton_jax import api
from lepton_jax.errors import UserError

optuna = pytest.importorskip("optuna", reason="optuna is not installed")

ROOT = Path(__file__).parent.parent.parent
FILE = """
from lepton_jax.ablation import (
    Experiment, Search, Variant, choice, integer, log_uniform, uniform,
)

def get_experiment():
    space = {
        "optimizer.learning_rate": log_uniform(1e-4, 1e-1),
        "model.dropout": uniform(0.05, 0.5),
    }
    return Experiment(
        question="Which recipe?",
        config="configs/digits_cnn.py",
        changes={
            "model.features": (4, 8), "train_for": "45 steps", "evaluate_every": "5 steps",
            "log_every": "5 steps", "checkpoint_every": "15 steps", "schedule.warmup": "5 steps",
            "batch_size": 16,
        },
        variants=[Variant("as it is")],
        seeds=(0, 1),
        searches=[%s],
    )
"""
ASHA = 'Search(name="asha", space=space, trials=9, rungs=(1 / 9, 1 / 3))'
TPE = (
    'Search(name="tpe", space={**space, "model.features": choice((4,), (4, 8)), '
    '"model.hidden": integer(8, 16)}, trials=6, batch=2, sampler="tpe", rungs=(1 / 3,), '
    "reduction=2, brackets=2)"
)


def command(folder: Path, workdir: str, *flags: str) -> list[str]:
    return [
        *(sys.executable, "launch.py", "ablate", f"--experiment={folder / 'e.py'}"),
        *(f"--workdir={folder / workdir}", *flags),
    ]


def trials(workdir: Path) -> dict[str, dict[str, Any]]:
    """By name: how it ended, its rows and where it comes from."""
    listed = json.loads((workdir / "experiment.json").read_text())["trials"]
    return {
        t["name"]: {
            **t,
            **json.loads((workdir / "trials" / t["name"] / "status.json").read_text()),
            "rows": (workdir / "trials" / t["name"] / "metrics.jsonl").read_text(),
        }
        for t in listed
    }


def valid(trial: dict[str, Any], until: int) -> float:
    rows = [json.loads(line) for line in trial["rows"].splitlines()]
    return max(r["valid/accuracy"] for r in rows if "valid/accuracy" in r and r["step"] <= until)


def test_at_each_rung_the_best_third_goes_on_and_the_winner_gets_all_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    (tmp_path / "e.py").write_text(FILE % ASHA)
    said = str(api.ablate(str(tmp_path / "w"), experiment=str(tmp_path / "e.py"), pack="serial"))
    found = trials(tmp_path / "w")
    drawn = [t for t in found.values() if t["variant"] == "asha" and t["seed"] == 0]
    assert len(drawn) == 9
    reached = {5: drawn, 15: sorted(drawn, key=lambda t: -valid(t, 5))[:3]}
    assert {t["name"] for t in drawn if t["step"] >= 15} == {t["name"] for t in reached[15]}
    (winner,) = [t for t in drawn if t["step"] == 45]
    assert valid(winner, 15) == max(valid(t, 15) for t in reached[15])
    assert winner["state"] == "finished"
    stopped = [t for t in drawn if t is not winner]
    assert {t["state"] for t in stopped} == {"pruned"}
    assert "not among the best 1/3 at step" in stopped[0]["reason"]
    (again,) = [t for t in found.values() if t["variant"] == "asha" and t["seed"] == 1]
    assert again["tuning"] == winner["tuning"]
    assert "8 of 12 trials were stopped early by a search." in said

    # What was stopped at two rungs and went on is the same, byte for byte, as if it had not been.
    alone = tmp_path / "alone"
    api.train(str(tmp_path / "w/trials" / winner["name"] / "config.json"), str(alone))
    assert (alone / "metrics.jsonl").read_text() == winner["rows"]

    # What others show of it: the search in Optuna, a trial in TensorBoard.
    path = str(tmp_path / "w/searches/asha.journal")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
    study = optuna.load_study(study_name="asha", storage=storage)
    assert len(study.trials) == 9
    assert study.best_value == valid(winner, 45)
    assert study.best_params["model.dropout"] == winner["tuning"]["model.dropout"]

    events = EventAccumulator(str(tmp_path / "w/trials" / winner["name"] / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("valid/accuracy")]
    rows = [json.loads(row) for row in winner["rows"].splitlines()]
    logged = [(row["step"], row["valid/accuracy"]) for row in rows if "valid/accuracy" in row]
    assert shown == [(step, pytest.approx(value)) for step, value in logged]
    assert shown[-1][0] == 45


@pytest.mark.slow
def test_killed_again_and_again_a_search_draws_and_chooses_what_an_unbroken_one_does(
    tmp_path: Path,
):
    searches = f"{ASHA}, {TPE}"
    (tmp_path / "e.py").write_text(FILE % searches)
    environment = {**os.environ, "XLA_FLAGS": ""}
    unbroken = command(tmp_path, "unbroken", "--pack=4")
    subprocess.run(unbroken, cwd=ROOT, env=environment, check=True, capture_output=True)
    rng, killed = random.Random(0), 0
    for _ in range(8):
        process = subprocess.Popen(
            command(tmp_path, "w", "--pack=4"), cwd=ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.uniform(4, 12))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    last = command(tmp_path, "w", "--pack=4")
    subprocess.run(last, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert killed >= 3
    a, b = trials(tmp_path / "unbroken"), trials(tmp_path / "w")
    assert a.keys() == b.keys()
    for name, trial in a.items():
        for key in ("tuning", "state", "step", "reason", "rows"):
            assert b[name][key] == trial[key], (name, key)


def test_an_experiment_that_is_stopped_before_its_search_draws_ends_in_words(tmp_path: Path):
    endless = (FILE % ASHA).replace("45 steps", "100000 steps")
    (tmp_path / "e.py").write_text(endless)
    line = command(tmp_path, "stopped")
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while not list(tmp_path.glob("stopped/trials/*/metrics.jsonl")):
            assert process.poll() is None
            time.sleep(0.1)
        process.terminate()
        rest = process.communicate(timeout=100)[1]
    assert "error" not in rest, rest
    assert not (tmp_path / "stopped/searches").exists()


@pytest.mark.slow
def test_what_cannot_be_built_or_was_drawn_before_is_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Three heads do not divide a width of eight, though both ends of the range do. Nor is what
    was drawn before: the search ends with two trials."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "e.py").write_text(
        """
from lepton_jax.ablation import Experiment, Search, integer

def get_experiment():
    return Experiment(
        question="How many heads?",
        config="configs/markov_decoder.py:tiny",
        changes={"model.width": 8},
        metric="loss",
        mode="min",
        seeds=(0,),
        searches=[Search(name="heads", space={"model.heads": integer(2, 4)}, trials=6)],
    )
"""
    )
    done = api.ablate(str(tmp_path / "w"), experiment=str(tmp_path / "e.py"))
    assert done.states == {"finished": 2}
    assert {t["tuning"]["model.heads"] for t in trials(tmp_path / "w").values()} == {2, 4}
    assert "drawn again, because variant 'heads'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ('Search(name="s", space={"model.dropot": uniform(0, 0.5)}, trials=2)', "did you mean"),
        ('Search(name="s", space={"model.dropout": uniform(0, 1.5)}, trials=2)', "1.5"),
        ('Search(name="s", space={"model.dropout": 0.1}, trials=2)', "0.1 is no distribution"),
        ('Search(name="s", space={}, trials=2)', "its space is empty"),
        ('Search(name="s", space=space, trials=2, rungs=(0.5, 0.1))', "expected rising shares"),
        ('Search(name="s", space=space, trials=2, sampler="tp")', "did you mean 'tpe'"),
        ('Search(name="s", space=space, trials=2, brackets=2)', "expected 1 to 1"),
        ('Search(name="as it is", space=space, trials=2)', "name of two variants"),
    ],
)
def test_a_mistake_is_told_before_the_first_trial(
    tmp_path: Path, search: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    (tmp_path / "e.py").write_text(FILE % search)
    with pytest.raises(UserError, match=said):
        api.ablate(str(tmp_path / "w"), experiment=str(tmp_path / "e.py"))
    assert not (tmp_path / "w/trials").exists()
