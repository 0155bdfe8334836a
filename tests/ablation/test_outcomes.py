"""What an experiment reads of its trials' records."""

import math
from pathlib import Path
from typing import Any

import pytest

from lepton_jax.ablation.analysis.outcomes import _read_outcome
from lepton_jax.tracking.record import Record


@pytest.mark.parametrize(
    ("test", "state", "found"),
    [(0.5, "finished", 0.5), (math.nan, "failed", None), (math.inf, "failed", None)],
)
def test_a_trial_whose_result_is_no_number_has_failed(
    test: float, state: str, found: float | None, tmp_path: Path
):
    record = Record.create(str(tmp_path / "trials/a"), "{}", {})
    record.log(1, {"valid/accuracy": test, "valid/loss": 1.0})
    record.write_results("test", {"accuracy": test, "step": 1})
    record.end("finished", 1)
    record.close()
    trial: dict[str, Any] = {"name": "a", "variant": "a", "seed": 0, "tuning": {}, "changes": {}}
    outcome = _read_outcome(
        str(tmp_path), {**trial, "best": ("valid/loss", "min")}, "accuracy", False
    )
    assert (outcome.state, outcome.test) == (state, found)
    assert outcome.reason == ("" if state == "finished" else f"test/accuracy is {test}")
