"""`compare` names the step at which two runs part, and the arrays that do."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import lepton_jax
from lepton_jax.errors import UserError
from lepton_jax.replay.parting import DifferentNumber, Parting
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.run_difference import compare_runs

SCHEDULE = {"name": "piecewise", "at": ("300 steps",), "factor": 0.5}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two runs whose learning rates differ from step 300 on."""
    folder = tmp_path_factory.mktemp("runs")
    config: dict[str, Any] = {
        "model": {"name": "mlp", "features": (8,)},
        "task": {"name": "image_classification"},
        "data": {
            "source": {"name": "generated_images", "classes": 4, "examples": 150},
            "prepare": "scale()",
        },
        "optimizer": {"name": "sgd", "learning_rate": 1e-2},
        "batch_size": 16,
        "train_for": "400 steps",
        "evaluate_every": "100 steps",
        "checkpoint_every": "100 steps",
        "writers": {},
    }
    lepton_jax.train(config, str(folder / "a"))
    lepton_jax.train({**config, "schedule": SCHEDULE}, str(folder / "b"))
    return str(folder / "a"), str(folder / "b")


def test_two_runs_part_where_their_rates_do(runs: tuple[str, str]):
    found = lepton_jax.compare(list(runs))
    said = json.loads(json.dumps(found.as_json()))["parting"]
    assert said["same_until"] == 300
    assert said["row_step"] == 350
    assert said["state_step"] == 400
    assert "train/learning_rate" in {n["name"] for n in said["numbers"]}
    assert said["measured_at"] == 400
    array = next(a for a in said["arrays"] if a["name"].endswith("kernel"))
    assert 0 < array["relative"] < 1
    assert "they part after step 300" in str(found)
    assert "schedule.name" in str(found)
    assert f" compare {runs[0]} {runs[1]} --exact\n" in str(found)


def test_runs_that_differ_at_once_are_not_said_to_part_earlier_than_the_records_show():
    numbers = (DifferentNumber("train/loss", 1.0, 2.0),)
    found = Parting((50, 100), None, 50, numbers, None, (), None)
    assert "numbers: they differ in their first shared row, step 50\n" in str(found)


def test_numbers_have_six_digits_or_as_many_as_tell_them_apart():
    assert str(DifferentNumber("x", 0.10249999910593033, 0.5)) == "x 0.1025 against 0.5"
    assert str(DifferentNumber("x", 1.00000001, 1.00000002)) == "x 1.00000001 against 1.00000002"


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        (("min", "min"), "{b} is better by 0.25; one seed says nothing of chance"),
        (("max", "max"), "{a} is better by 0.5; one seed says nothing of chance"),
        (("min", "max"), None),
    ],
)
def test_the_better_run_is_named_where_both_choose_by_one_metric(
    tmp_path: Path, modes: tuple[str, str], said: str | None
):
    losses = {"a": [0.75, 0.5], "b": [0.25, float("nan")]}
    for name, mode in zip(losses, modes, strict=True):
        best = {"best": {"metric": "valid/loss", "mode": mode}}
        record = Record.create(tmp_path / name, json.dumps(best), {})
        lines = [json.dumps({"step": i, "valid/loss": x}) for i, x in enumerate(losses[name])]
        Path(record.path("metrics.jsonl")).write_text("\n".join(lines) + "\n")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    line = said and "by best.metric (valid/loss): " + said.format(a=a, b=b)
    for found in (lepton_jax.compare([a, b]), compare_runs(a, b)):
        assert str(found).splitlines()[-1] == line or (
            line is None and "by best.metric" not in str(found)
        )
        assert json.loads(json.dumps(found.as_json()))["better"] == (
            said
            and {
                "metric": "valid/loss",
                "better": a if "{a}" in said else b,
                "by": 0.25 if "{b}" in said else 0.5,
            }
        )


def test_every_start_of_a_run_is_compared(tmp_path: Path):
    started = {"placement": {"strategy": "jit", "devices": 1}}
    for name in ("a", "b"):
        Record.create(tmp_path / name, "{}", started)
    assert not compare_runs(str(tmp_path / "a"), str(tmp_path / "b")).provenance
    Record.open(tmp_path / "b").resume(
        0, "{}", {"placement": {"strategy": "mesh", "devices": 8, "axes": {"fsdp": 8}}}
    )
    found = compare_runs(str(tmp_path / "a"), str(tmp_path / "b")).provenance
    assert [(v.name, v.first, v.second) for v in found] == [
        ("placement.strategy", "jit", "jit -> mesh"),
        ("placement.devices", 1, "1 -> 8"),
        ("placement.axes.fsdp", None, "- -> 8"),
    ]


def test_the_very_step_is_found_by_computing_both_again(runs: tuple[str, str]):
    found = lepton_jax.compare(list(runs), exact=True).parting
    assert (found.same_until, found.state_step, found.row_step) == (300, 301, 350)
    assert {array.name.split(".")[0] for array in found.arrays} == {"learner"}
    assert all(array.relative for array in found.arrays)


def test_other_formats_are_what_programs_read(runs: tuple[str, str]):
    found = lepton_jax.compare(list(runs), format="json")
    assert json.loads(str(found))["parting"]["same_until"] == 300
    rows = [*csv.DictReader(str(lepton_jax.compare(list(runs), format="csv")).splitlines())]
    assert {row["part"] for row in rows} <= {"config", "results", "provenance"}


def test_a_run_does_not_part_from_itself(runs: tuple[str, str]):
    found = lepton_jax.compare([runs[0], runs[0]])
    assert found.parting.step is None
    assert "the same at all" in str(found)


def test_one_workdir_needs_code_to_be_compared_with(runs: tuple[str, str]):
    with pytest.raises(UserError, match="compare: expected two workdirs, got"):
        lepton_jax.compare([runs[0]])
    with pytest.raises(UserError, match="has no such commit; expected a branch, a tag or a commit"):
        lepton_jax.compare([runs[0]], code="no-such-branch")


@pytest.mark.slow
def test_the_code_of_another_commit_trains_the_same_config(runs: tuple[str, str]):
    found = lepton_jax.compare([runs[0]], code="HEAD")
    assert not found.difference.config
    assert found.parting.last_state == 400
    assert "harness_code" in {value.name for value in found.difference.provenance}
