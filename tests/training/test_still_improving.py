"""The note at the end of a run that still improved."""

from pathlib import Path

import pytest

from lepton_jax import api
from lepton_jax.training.still_improving import still_improves
from tests.training.conftest import Recipe


def slow(recipe: Recipe, schedule: str) -> dict:
    """A recipe that learns so slowly that its loss on 'valid' falls at each evaluation."""
    return recipe(
        optimizer__learning_rate=3e-4, schedule={"name": schedule}, model__dropout=0.0,
        best={"metric": "valid/loss", "mode": "min"},
    )  # fmt: skip


def test_a_run_that_still_improves_says_how_it_goes_on(recipe: Recipe, tmp_path: Path, capsys):
    workdir = str(tmp_path / "run")
    api.train(slow(recipe, "constant"), workdir)
    said = capsys.readouterr().err
    assert "note: each of the last 3 evaluations has the best valid/loss so far" in said
    assert f"--config.train_for='120 steps' --workdir={workdir} --longer" in said
    longer = {"train_for": "120 steps"}
    assert api.train(f"{workdir}/config.json", workdir, overrides=longer, longer=True).step == 120


def test_a_schedule_that_ends_at_zero_gets_no_note(recipe: Recipe, tmp_path: Path, capsys):
    api.train(slow(recipe, "cosine"), str(tmp_path / "run"))
    assert "note: each of the last" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("losses", "improves"),
    [
        ([6, 5, 4, 3, 2, 1], True),
        ([6, 5, 4, 3, 1, 2], False),  # the best is not the last
        ([6, 5, 4, 2, 3, 1], False),  # the best is the last, by a leap
        ([3, 2, 1], False),
        ([6, 5, 4, 3, 2, float("nan")], False),
    ],
)
def test_three_bests_in_a_row_are_an_improvement(losses: list[float], improves: bool):
    assert still_improves(losses, "min") is improves
    assert still_improves([-x for x in losses], "max") is improves
