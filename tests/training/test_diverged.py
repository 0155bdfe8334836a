"""A run that diverged is told at its end, and one whose loss may well grow is not."""

import json
import math
import re
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax.tracking.divergence import describe_divergence


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([2.3, 1.0, 0.5], ""),
        ([2.3, 1.0, 400.0], ""),  # one batch
        ([2.3, 80.0, 400.0, 90.0], "ended at 90.0000 and began at 2.3000"),
        ([2.3, 4e19], "ended at 4e+19 and began at 2.3000"),
        ([3.1, 4e4, 2.3, 2.3], "rose to 4e+04 at step 2 and began at 3.1000"),
        ([2.3, 1.0, math.nan], "ended at nan and began at 2.3000"),
        ([0.5, -3.0, 40.0, 40.0, 40.0], ""),  # of a density
        ([0.69, 5.0, 6.0, 5.5], ""),
        ([0.0, 1.0, 1.0, 1.0], ""),
        ([1e15], ""),
        ([], ""),
    ],
)
def test_a_loss_that_ends_many_times_as_large_as_it_began_is_that_of_a_diverged_run(
    losses: list[float], said: str
):
    assert describe_divergence([*range(1, len(losses) + 1)], losses) == said


def test_a_diverged_run_ends_with_a_warning_and_a_command(recipe, tmp_path: Path, capfd):
    config = recipe(
        optimizer__learning_rate=1e3, train_for="6 steps", log_every="1 steps",
        evaluate_every="6 steps", checkpoint_every="6 steps", ema=0.0, model__dropout=0.0,
    )  # fmt: skip
    lepton_jax.train(config, str(tmp_path))
    rows = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    assert losses[-1] > 100 * losses[0]
    told = " ".join(capfd.readouterr().err.split())
    assert "warning: the training loss ended at " in told
    assert "the run diverged; try a lower optimizer.learning_rate (" in told
    assert f"lr_find --config={tmp_path}/config.json finds one)" in told


def test_a_loss_that_exploded_before_its_first_row_is_compared_with_that_of_the_first_step(
    recipe, tmp_path: Path, capfd
):
    config = recipe(
        optimizer__learning_rate=1e3, train_for="6 steps", log_every="6 steps",
        evaluate_every="6 steps", checkpoint_every="6 steps", ema=0.0, model__dropout=0.0,
    )  # fmt: skip
    lepton_jax.train(config, str(tmp_path))
    told = " ".join(capfd.readouterr().err.split())
    assert re.search(r"warning: the training loss ended at \S+ and began at \d\.\d+: the run", told)
