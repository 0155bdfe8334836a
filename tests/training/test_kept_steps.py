"""Milestones are kept for good: the first checkpoint at or after each multiple of their period."""

from pathlib import Path
from typing import Any

import pytest

from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.training.kept_steps import select_milestones
from tests.training.conftest import Recipe


def kept(saved: list[int], period: float) -> list[int]:
    """Returns what is left when each step is saved and everything but the milestones is dropped."""
    there: list[int] = []
    for step in saved:
        there = sorted({*select_milestones([*there, step], period), step})
    return sorted(select_milestones(there, period))


@pytest.mark.parametrize(
    ("saved", "period", "milestones"),
    [
        ([30, 60, 90, 120, 150, 180, 210], 100, [120, 210]),
        ([10, 20, 30, 40], 20, [20, 40]),
        ([47, 94, 141, 188], 46.875, [47, 94, 141, 188]),
        ([3, 7, 10], 10 / 3, [3, 7, 10]),
        ([5, 900], 100, [900]),
        ([1, 2], 0.5, [1, 2]),
        ([10, 20], 50, []),
    ],
)
def test_milestones_stay_when_others_are_dropped(
    saved: list[int], period: float, milestones: list[int]
):
    assert kept(saved, period) == milestones
    assert sorted(select_milestones(saved, period)) == milestones


def test_a_period_of_nothing_is_refused(recipe: Recipe):
    config: dict[str, Any] = recipe(checkpoint_milestones="0 steps")
    with pytest.raises(UserError, match="checkpoint_milestones: expected more than nothing"):
        validate_config(config, str(Path("c.py")))
