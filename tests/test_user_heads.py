"""A user's task changes one thing of another in a few lines: its loss, or the heads it reads."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.config.schema import signature_keys
from lepton_jax.data.spec import DataSpec, FieldSpec
from tests.user_project.heads import ClassAndInk, Focal, Weighted

HEADS = "tests.user_project.heads"
LABEL = np.array([0, 4, 5, 9], np.int32)
SPEC = DataSpec(
    {"image": FieldSpec((2, 2, 1), "uint8"), "label": FieldSpec((), "int32")},
    tuple("0123456789"),
)


def loss_of(task_class: type, **keys: float) -> float:
    """The summed loss of four examples whose logits are fixed, in training."""
    logits = np.random.default_rng(0).normal(size=(4, 10)).astype(np.float32)
    batch = {"image": jnp.zeros((4, 2, 2, 1)), "label": jnp.array(LABEL), "mask": jnp.ones(4)}
    sums = task_class(SPEC, **keys).loss(lambda x, noise: logits, batch, lambda: None)
    return float(sums["loss"][0])


def nats() -> np.ndarray:
    logits = np.random.default_rng(0).normal(size=(4, 10))
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(4), LABEL]


def test_a_class_weighted_loss_is_three_lines():
    assert loss_of(Weighted) == pytest.approx(([3, 3, 1, 1] * nats()).sum(), rel=1e-5)


def test_a_focal_loss_is_three_lines():
    assert loss_of(Focal) == pytest.approx(((1 - np.exp(-nats())) ** 2).sum(), rel=1e-5)


def test_label_smoothing_reaches_a_loss_of_ones_own():
    assert loss_of(Weighted, label_smoothing=0.1) != pytest.approx(loss_of(Weighted), rel=1e-3)


def test_a_second_head_trains_beside_the_first_and_is_predicted(tmp_path: Path):
    config = {
        "model": {"name": f"{HEADS}:TwoHeaded"},
        "task": {"name": f"{HEADS}:ClassAndInk"},
        "data": {"source": {"name": "digits"}, "prepare": "scale()"},
        "optimizer": {"name": "adam", "learning_rate": 1e-2},
        "batch_size": 64,
        "train_for": "60 steps",
        "log_every": "20 steps",
        "writers": {},
    }
    results = lepton_jax.train(config, str(tmp_path)).results["test"]
    assert results["accuracy"] > 0.5
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    ink = [row["train/ink"] for row in rows if "train/ink" in row]
    assert ink[-1] < ink[0] / 2
    api.export(str(tmp_path), str(tmp_path / "bundle"))
    assert "ink" in json.loads((tmp_path / "bundle/signature.json").read_text())["outputs"]


def test_a_subclass_restates_the_keys_of_its_parent():
    assert set(signature_keys(ClassAndInk)) == {"label_smoothing", "ink_weight"}
