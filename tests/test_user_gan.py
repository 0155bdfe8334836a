"""A task may bring a step of its own: a GAN from a user's folder trains, stops and goes on."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.nn.batch import Batch
from lepton_jax.training import build
from lepton_jax.training.learner import Tools
from lepton_jax.training.load_data import load_data


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict:
    image = np.random.default_rng(0).integers(0, 40, (256, 8, 8, 1), np.uint8)
    image[:, :, :4] += 200  # bright on the left
    label = np.zeros(256, np.int32)
    np.savez(tmp_path / "data.npz", train_image=image, train_label=label)
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "user_project"))
    return {
        "model": {"name": "gan:Generator", "width": 32},
        "task": {"name": "gan:GAN"},
        "data": {
            "source": {"name": "npz", "path": str(tmp_path / "data.npz")},
            "prepare": "scale()",
        },
        "optimizer": {"name": "adam", "learning_rate": 2e-3, "b1": 0.5},
        "batch_size": 32,
        "train_for": "200 steps",
        "evaluate_every": "50 steps",
        "checkpoint_every": "50 steps",
        "writers": {},
    }


def test_a_users_gan_learns_and_can_be_stopped(config: dict, tmp_path: Path):
    lepton_jax.train(config, str(tmp_path / "whole"))
    rows = [json.loads(r) for r in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
    gaps = [r["valid/loss"] for r in rows if "valid/loss" in r]
    assert gaps[-1] < 0.1  # grey images are 0.37 off
    assert {"train/d_loss", "train/g_loss"} <= rows[0].keys() | rows[1].keys()

    lepton_jax.train(config | {"train_for": "100 steps"}, str(tmp_path / "cut"))
    lepton_jax.train(config, str(tmp_path / "cut"), longer=True)
    cut = (tmp_path / "cut/metrics.jsonl").read_text().splitlines()
    whole = (tmp_path / "whole/metrics.jsonl").read_text().splitlines()
    assert cut == whole


def scaled(batch: Batch) -> Batch:
    """The batch with images in [0, 1]."""
    return {**batch, "image": batch["image"] / 255}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"ema": 0.9}, "ema: the task takes its own steps, which do not use tools.ema"),
        ({"augment": "flip"}, ""),
        ({"augment": "flip", "task": "deaf"}, "data.augment: the task takes its own steps"),
    ],
)
def test_what_a_step_of_ones_own_does_not_use_is_not_asked_for(
    config: dict, changes: dict, said: str, monkeypatch: pytest.MonkeyPatch
):
    import gan  # the user's

    if "task" in changes:  # one that forgets to augment
        update = gan.GAN.update

        def forgetful(self: Any, tools: Tools, *rest: Any) -> Any:
            return update(self, replace(tools, augment=lambda batch, _: scaled(batch)), *rest)

        monkeypatch.setattr(gan.GAN, "update", forgetful)
    config["data"]["augment"] = changes.get("augment", "")
    checked = validate_config({**config, "ema": changes.get("ema", 0.0)})
    traced = build.build_program(checked, load_data(checked)).training.traced
    with pytest.raises(UserError, match=said) if said else nullcontext():
        traced.refuse_unused()


def test_a_model_that_answers_to_nothing_in_the_data_is_not_exported(config: dict, tmp_path: Path):
    lepton_jax.train(config | {"train_for": "3 steps"}, str(tmp_path / "w"))
    with pytest.raises(UserError, match="which is no field of the data"):
        api.export(str(tmp_path / "w"), str(tmp_path / "bundle"))
