"""A trial in a pack leaves the record that it would have left alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_jax import api
from lepton_jax.ablation import Experiment, Variant, grid
from lepton_jax.ablation.question.trials import expand_trials, group_by_program
from lepton_jax.ablation.run.run_pack import run_pack
from lepton_jax.ablation.workdir import has_ended, trial_folder, trial_status
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.saved import load_run
from tests.ablation.packs import run_packed
from tests.laws import largest_difference

QUICK = {
    "train_for": "20 steps",
    "batch_size": 8,
    "evaluate_every": "10 steps",
    "log_every": "5 steps",
    "writers": {},
}
DIGITS = {
    **QUICK,
    "model.features": (4, 8),
    "model.hidden": 16,
    "ema": 0.5,
    "schedule.warmup": "2 steps",
}
VARIED = [
    Variant("a", {"optimizer.learning_rate": 1e-2, "model.dropout": 0.1}),
    Variant("b", {"optimizer.weight_decay": 0.1, "ema": 0.3}),
    Variant("c", {"task.label_smoothing": 0.1}),
]
TOKENS = {**QUICK, "model.layers": 1, "data.source.examples": 64}


@pytest.mark.parametrize(
    ("config", "variants", "changes"),
    [
        pytest.param("configs/digits_cnn.py", VARIED, DIGITS, marks=pytest.mark.slow),
        pytest.param(
            "configs/markov_decoder.py",
            grid({"optimizer.learning_rate": (1e-3, 1e-2)}),
            TOKENS,
            marks=pytest.mark.slow,
        ),
        *(
            pytest.param(
                f"configs/mnist1d_{model}.py",
                grid({"optimizer.learning_rate": (1e-3, 1e-2)}),
                {**QUICK, "data.source.examples": 100},
                marks=() if model == "mlp" else pytest.mark.slow,
            )
            for model in ("mlp", "gru")
        ),
        *(
            pytest.param(
                f"configs/mnist_{model}.py:tiny",
                grid({"optimizer.learning_rate": (1e-3, 1e-2)}),
                QUICK,
                marks=pytest.mark.slow,
            )
            for model in ("vae", "flow")
        ),
    ],
    ids=[
        "CNN with BatchNorm, dropout, EMA, augmentation",
        "decoder with dropout",
        "MLP",
        "GRU",
        "VAE",
        "flow",
    ],
)
def test_a_packed_trial_computes_what_it_computes_alone(
    tmp_path: Path, config: str, variants: list[Variant], changes: dict[str, Any]
):
    """More trials than devices, so that each device has several."""
    exact = {**changes, "precision": "float64"}
    trials = run_packed(tmp_path, config, variants, exact, seeds=range(6))
    noted = [json.loads(p.read_text()) for p in (tmp_path / "packs").glob("*/packing.json")]
    assert max(n["lanes_a_device"] for n in noted) > 1
    for trial in (trials[0], trials[7]):
        alone = tmp_path / "alone" / trial.name
        api.train(trial.config, str(alone))
        assert largest_difference(tmp_path / "trials" / trial.name, alone) < 1e-10


def test_what_packs_follows_from_the_config():
    numbers = Variant("n", {"optimizer.learning_rate": 0.1, "model.dropout": 0.3, "ema": 0.9})
    shapes = Variant("s", {"model.hidden": 32})
    off = Variant("o", {"model.dropout": 0.0})
    experiment = Experiment(
        question="?", config="configs/digits_cnn.py", seeds=(0, 1),
        variants=[Variant("base"), numbers, shapes, off],
    )  # fmt: skip
    groups = [
        {t.variant for t in group} for group in group_by_program(expand_trials(experiment)).values()
    ]
    assert groups == [{"base", "n"}, {"s"}, {"o"}]


@pytest.mark.slow
def test_one_after_another_is_bit_for_bit_the_trial_alone(tmp_path: Path):
    trial, *_ = run_packed(tmp_path, "configs/digits_cnn.py", VARIED[:2], DIGITS, "serial", (3,))
    alone, own = tmp_path / "alone", tmp_path / "trials" / trial.name
    api.train(trial.config, str(alone))
    assert (own / "metrics.jsonl").read_bytes() == (alone / "metrics.jsonl").read_bytes()
    assert json.loads((own / "results.json").read_text()) == json.loads(
        (alone / "results.json").read_text()
    )
    mine, its = Checkpoints(str(own)).arrays(20, ""), Checkpoints(str(alone)).arrays(20, "")
    assert mine.keys() == its.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], its[name], err_msg=name)


@pytest.mark.slow
def test_a_trial_can_be_used_as_a_run_of_its_own(tmp_path: Path):
    trial, *_ = run_packed(tmp_path, "configs/digits_cnn.py", VARIED[:1], DIGITS)
    own = str(tmp_path / "trials" / trial.name)
    assert load_run(own).step <= 20
    assert load_run(own, "last").step == 20
    assert 0 <= api.evaluate(own, split="valid").results["accuracy"] <= 1
    api.export(own, f"{own}/bundle")
    assert api.verify(f"{own}/bundle").ok
    assert api.train(trial.config, own).step == 20  # it is done, and says so
    longer = api.train({**trial.config.to_dict(), "train_for": "25 steps"}, own, stretch=True)
    assert longer.step == 25


def test_a_trial_that_diverges_is_said_so_and_leaves_the_others_alone(tmp_path: Path):
    wild = [Variant("calm"), Variant("wild", {"optimizer.learning_rate": 1e30})]
    changes = {**DIGITS, "optimizer.clip_norm": None}
    calm, other, *_ = run_packed(tmp_path / "a", "configs/digits_cnn.py", wild, changes)
    states = [
        trial_status(trial_folder(str(tmp_path / "a"), name))
        for name in sorted(p.name for p in (tmp_path / "a/trials").iterdir())
    ]
    assert [s["state"] for s in states] == ["finished"] * 2 + ["failed"] * 2
    assert "not finite" in states[2]["reason"]
    # In a group of the same size without it every byte of the others is the same.
    again = [Variant("calm"), Variant("mild", {"optimizer.learning_rate": 1e-5})]
    run_packed(tmp_path / "b", "configs/digits_cnn.py", again, changes)
    for trial in (calm, other):
        a, b = (tmp_path / x / "trials" / trial.name / "metrics.jsonl" for x in "ab")
        assert a.read_bytes() == b.read_bytes()


PICKY = """
import jax.numpy as jnp

class Picky:
    def __init__(self, classes):
        pass

    def sums(self, outputs, batch):
        sharpness = jnp.square(outputs["probabilities"]).sum(-1) * batch["mask"]
        return {"sharpness": sharpness.sum(), "n": batch["mask"].sum()}

    def results(self, sums):
        vague = sums["n"] > 1 and sums["sharpness"] < 0.2 * sums["n"]
        return {"sharpness": 1 / (0 if vague else 1)}
"""


@pytest.mark.slow
def test_an_error_is_that_of_the_trial_whose_it_is(tmp_path: Path, monkeypatch):
    """A user's metric divides by zero for the one trial that answers nothing in particular."""
    (tmp_path / "picky.py").write_text(PICKY)
    monkeypatch.syspath_prepend(str(tmp_path))
    variants = [Variant("learns"), Variant("dead", {"optimizer.learning_rate": 1e-9})]
    changes = {
        **QUICK, "metrics.picky.name": "picky:Picky", "optimizer.learning_rate": 0.01, "ema": 0.0,
        "model.name": "mlp", "schedule.warmup": "5 steps", "train_for": "100 steps",
        "evaluate_every": "100 steps",
    }  # fmt: skip
    trials = run_packed(tmp_path, "configs/digits_cnn.py", variants, changes, seeds=(0,), ok=False)
    learns, dead = (trial_status(str(tmp_path / "trials" / t.name)) for t in trials)
    assert learns["state"] == "finished"
    assert dead["state"] == "failed"
    assert "picky.results failed at " in dead["reason"]
    assert "ZeroDivisionError: division by zero" in dead["reason"]


NOTED = """
import os

class Noted:
    def __init__(self, workdir, config):
        self.file = open(f"{workdir}/noted.txt", "w")

    def __call__(self, step, values):
        self.file.write(f"{step} ")

    def close(self):
        self.file.close()
        if "TOOL_IS_GONE" in os.environ:
            raise RuntimeError("the tool is gone")
"""


def test_writers_show_every_trial_and_fail_none(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "noted.py").write_text(NOTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    changes = {
        **QUICK, "writers": {"noted": {"name": "noted:Noted"}}, "data.source.examples": 100,
    }  # fmt: skip
    monkeypatch.setenv("TOOL_IS_GONE", "1")
    trials = run_packed(tmp_path, "configs/mnist1d_mlp.py", [Variant("a")], changes)
    folders = [Path(trial_folder(str(tmp_path), t.name)) for t in trials]
    assert [trial_status(str(folder))["state"] for folder in folders] == ["finished"] * 2
    told = (
        f"warning: writers.noted does not show all of {folders[0]}: RuntimeError: the tool is gone"
    )
    assert told in capsys.readouterr().err
    assert not (folders[1] / "noted.txt").exists()

    # A pack that was killed while it showed its trials shows them when it goes on.
    monkeypatch.delenv("TOOL_IS_GONE")
    (pack,) = (tmp_path / "packs").iterdir()
    (pack / "finished.json").unlink()
    assert run_pack(str(pack)).ok
    for folder in folders:
        assert sorted(set((folder / "noted.txt").read_text().split()), key=int) == [
            "5", "10", "15", "20",
        ]  # fmt: skip


def test_lanes_are_spread_over_the_devices(tmp_path: Path):
    """Eight devices take eight trials at a time, one each."""
    trials = run_packed(tmp_path, "configs/digits_cnn.py", VARIED[:1], DIGITS, "8", seeds=range(8))
    noted = json.loads(next((tmp_path / "packs").glob("*/packing.json")).read_text())
    assert (noted["devices"], noted["lanes_a_device"]) == (8, 1)
    assert all(has_ended(str(tmp_path / "trials" / t.name)) for t in trials)
