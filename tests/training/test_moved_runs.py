"""A run says on what it computes, that devices are left idle, and that it goes on elsewhere."""

import math
from pathlib import Path
from typing import Any

import pytest

import lepton_jax as lj
from lepton_jax.config.validation import validate_config
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import build_run
from lepton_jax.training.resume import check_same_run

CONFIG: dict[str, Any] = {
    "model": {"name": "mlp", "features": (8,)},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "digits"}},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "schedule": {"name": "constant", "warmup": "0 steps"},
    "batch_size": 8,
    "writers": {},
}
PMAP = {"name": "pmap", "devices_used": 2}


@pytest.fixture
def train(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Trains so many steps of a run in all; returns the notes that it says."""

    def train(steps: int, **changed: Any) -> list[str]:
        config = {**CONFIG, "train_for": f"{steps} steps", **changed}
        lj.train(config, str(tmp_path / "w"), longer=(tmp_path / "w").exists())
        said = capsys.readouterr().err.splitlines()
        return [line for line in said if line.startswith("note: ")]

    return train


@pytest.mark.slow
def test_a_run_that_goes_on_elsewhere_says_from_where_to_where_and_what_that_means(train):
    assert train(1, strategy=PMAP) == []
    moved = "note: so far this run used 2 cpu, strategy pmap data=2; from here 8 cpu, strategy mesh"
    assert train(2, strategy={"name": "mesh"}) == [
        f"{moved} data=8. Sums are taken in another order: in float32 numbers differ in the last "
        "digits and drift apart"
    ]
    assert train(3, strategy={"name": "mesh"}) == []  # it was said when the run moved


@pytest.mark.parametrize(
    ("batch", "cure"),
    [
        (16, "all of them: --config.strategy.name=pmap"),
        (
            12,
            "6 of them, over which the batch divides: "
            "--config.strategy.name=pmap --config.strategy.devices_used=6",
        ),
        (11, "a batch_size that is a multiple of 8 lets --config.strategy.name=pmap use all of "
         "them"),
    ],
)  # fmt: skip
def test_one_of_several_devices_is_used_and_the_flag_for_all_is_named(batch: int, cure: str):
    said: list[str] = []
    config = validate_config({**CONFIG, "train_for": "1 steps", "batch_size": batch})
    build_run(config, tell=said.append)
    assert said[-1] == f"note: strategy jit uses 1 of 8 devices; {cure}"


def start(visible: int, **fields: Any) -> dict[str, Any]:
    """The provenance of a start by `jit`, on a machine that shows so many devices."""
    devices = {"platform": "cpu", "kind": "cpu", "count": visible, "processes": 1}
    here = {"devices": devices, "visible_cpus": 2, "placement": placed("jit", data=1)}
    return {"data_fingerprint": "", **here, **fields}


def placed(strategy: str, **axes: int) -> dict[str, Any]:
    """What a record says of a strategy on a mesh of CPU devices."""
    count = math.prod(axes.values())
    return {"strategy": strategy, "axes": axes, "devices": count, "kind": "cpu", "processes": 1}


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        (start(1), start(8), ""),  # it uses one of them, and gives the same bits
        (
            start(8, placement=placed("pmap", data=2)),
            start(8, placement=placed("mesh", data=1, fsdp=8)),
            "note: so far this run used 2 cpu, strategy pmap data=2; from here 8 cpu, strategy "
            "mesh fsdp=8. Sums are taken in another order: in float32 numbers differ in the last "
            "digits and drift apart\n",
        ),
        (start(1), start(1, visible_cpus=8), "had 2 CPU cores; from here 8. Sums"),
        (start(8, placement=None), start(1), ""),  # an old record: which it used is unknown
        (
            start(8, placement=None, devices={"platform": "gpu", "kind": "H200"}),
            start(1),
            "used devices of kind H200; from here cpu. Sums",
        ),
    ],
)
def test_only_what_changes_bits_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], was: dict, now: dict, said: str
):
    config = validate_config({**CONFIG, "train_for": "9 steps"})
    record = Record.create(tmp_path / "w", config.to_json(), was)
    (tmp_path / "w/checkpoints/3").mkdir(parents=True)
    check_same_run(record, config, now, longer=False)
    heard = capsys.readouterr().err
    assert said in heard if said else not heard
