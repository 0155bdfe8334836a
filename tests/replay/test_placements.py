"""A run that went on in another placement is computed again as it was: each part in its own."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import pytest

import lepton_jax
from lepton_jax.config.config_file import resolve_config
from lepton_jax.errors import UserError
from lepton_jax.placement import strategies
from lepton_jax.replay.legs import Leg, list_legs, starts_of_span
from lepton_jax.replay.parting import Parting, find_parting
from lepton_jax.replay.spans import Span
from lepton_jax.tracking.record import Record
from lepton_jax.training.train import train

ONE, ALL = {"strategy": "jit"}, {"strategy": "pmap"}
CONFIG: dict[str, Any] = {
    "model": {"name": "mlp", "features": (16,)},
    "task": {"name": "image_classification"},
    "data": {
        "source": {"name": "generated_images", "classes": 4, "examples": 160},
        "prepare": "scale()",
    },
    "optimizer": {"name": "adamw", "learning_rate": 1e-2},
    "batch_size": 16,
    "train_for": "40 steps",
    "evaluate_every": "20 steps",
    "checkpoint_every": "10 steps",
    "keep_last": 2,
    "log_every": "7 steps",
    "writers": {},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A run on one device, and the same run that was killed after step 10 and went on over two."""
    folder = tmp_path_factory.mktemp("runs")
    stayed, moved = str(folder / "stayed"), str(folder / "moved")
    lepton_jax.train(CONFIG, stayed)
    config = resolve_config(CONFIG)[0]
    train(config, moved, longer=False, command=["train"], until=12)
    shutil.rmtree(folder / "moved/checkpoints/12")
    lepton_jax.train({**CONFIG, "strategy": {"name": "pmap", "devices_used": 2}}, moved)
    return stayed, moved


def say_16_devices(workdir: str, copy: Path) -> str:
    """A copy of a run whose last start says that it used 16 devices, which are not here."""
    shutil.copytree(workdir, copy)
    file = copy / "provenance.json"
    said = json.loads(file.read_text())
    said["restarts"][-1]["placement"] |= {"axes": {"data": 16}, "devices": 16}
    file.write_text(json.dumps(said))
    return str(copy)


def say_parting(first: str, second: str) -> Parting:
    """Says where two runs part by their records alone."""
    return find_parting(Record.open(first), Record.open(second))


def test_a_run_that_moved_holds_to_the_bit_also_in_the_span_in_which_it_moved(
    runs: tuple[str, str],
):
    verdict = lepton_jax.replay(runs[1], spans=99, seed=0)
    assert verdict.ok, str(verdict)
    assert verdict.equal
    assert not verdict.elsewhere
    assert verdict.spans[0].span == Span(0, 30)  # it moved in the interval of steps 8 to 14


def test_the_very_step_at_which_a_run_moved_is_named(runs: tuple[str, str]):
    found = lepton_jax.compare(list(runs), exact=True).parting
    assert (found.same_until, found.state_step, found.notes) == (10, 11, ())


def test_without_the_devices_of_a_run_no_step_is_named(runs: tuple[str, str], tmp_path: Path):
    moved = say_16_devices(runs[1], tmp_path / "moved")
    found = lepton_jax.compare([runs[0], moved], exact=True)
    assert dataclasses.replace(found.parting, notes=()) == say_parting(runs[0], moved)
    was, so, cure = found.parting.notes
    assert was == (
        f"{moved} was computed on 16 cpu, strategy pmap data=16; here it is computed on 1 "
        "cpu, strategy jit"
    )
    assert so.startswith("so the very step cannot be named here; on this machine their states ")
    assert cure.startswith("to name the step: XLA_FLAGS=--xla_force_host_platform_device_count=16 ")
    assert cure.endswith(f" compare {runs[0]} {moved} --exact")


@pytest.mark.slow
def test_a_state_that_is_not_that_of_the_record_names_no_step(
    runs: tuple[str, str], tmp_path: Path
):
    """What is computed here never stands against a digest of the record."""
    copy = tmp_path / "moved"
    shutil.copytree(runs[1], copy)
    file = copy / "provenance.json"
    said = json.loads(file.read_text())
    del said["restarts"][-1]["placement"]
    said["placement"] |= {"strategy": "pmap", "axes": {"data": 2}, "devices": 2}
    file.write_text(json.dumps(said))
    found = lepton_jax.compare([runs[0], str(copy)], exact=True).parting
    assert dataclasses.replace(found, notes=()) == say_parting(runs[0], str(copy))
    assert "computed again gives other states than its record has, first at step 10" in str(found)


def test_a_span_is_split_where_the_placement_changed_and_what_was_undone_is_left_out():
    starts = [
        {"step": 0, "placement": ONE},
        {"step": 10, "placement": ONE},
        {"step": 50, "placement": ALL},  # died before a checkpoint; the next began before it
        {"step": 30, "placement": ALL},
    ]
    assert list_legs(starts, Span(0, 40)) == [Leg(0, 30, ONE), Leg(30, 40, ALL)]
    assert list_legs(starts, Span(5, 25)) == [Leg(5, 25, ONE)]
    assert list_legs([], Span(0, 40)) == [Leg(0, 40, None)]
    assert starts_of_span(starts, Span(10, 30)) == [starts[1]]
    assert starts_of_span(starts, Span(30, 60)) == [starts[3]]


@pytest.mark.parametrize(("fsdp", "nearest"), [(16, 8), (100, 8)])
def test_too_few_devices_are_counted_and_the_way_to_simulate_them_is_said(fsdp: int, nearest: int):
    with pytest.raises(UserError) as raised:
        strategies.mesh(jax.devices(), fsdp=fsdp)
    assert str(raised.value) == (
        f"strategy mesh: fsdp {fsdp} x tensor 1 needs {fsdp} devices, and here are 8; to simulate "
        f"them on a CPU: XLA_FLAGS=--xla_force_host_platform_device_count={fsdp} before the command"
    )
    assert raised.value.instead == (
        "--config.strategy.fsdp",
        f"--config.strategy.fsdp={nearest}",
    )
