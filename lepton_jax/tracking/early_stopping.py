"""Finds the step at which a run ends early from its record alone.

So nothing has to be kept beside the rows: a run that was killed ends at the step, with the bytes,
of one that was left alone.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.tracking.best import sign_of


@dataclass(frozen=True)
class EarlyStop:
    """Where a run ends early, and why."""

    step: int
    metric: str
    patience: int
    improved: int | None
    """The step of the last improvement; None where the metric was never finite."""
    total: int
    """The steps of `train_for`."""

    def __str__(self) -> str:
        times = f"{self.patience} evaluations" if self.patience > 1 else "the last evaluation"
        since = "" if self.improved is None else f" since step {self.improved}"
        return (
            f"stopped early at step {self.step} of {self.total}: {self.metric} did not improve in "
            f"{times}{since}"
        )


def early_stop(config: Config, rows: Iterable[Mapping[str, Any]], total: int) -> EarlyStop | None:
    """Finds the evaluation after which a run ends early; None where it goes on.

    An evaluation improves when `best.metric` is better by more than `min_delta` than at the last
    improvement (as in Keras and Lightning). The run ends after `patience` evaluations in a row
    that do not. A value that is not finite does not improve.

    `rows`: those of the record. `total`: the steps of `train_for`; at the last of them no run ends
    early.
    """
    section, best = config.early_stopping, config.best
    if section is None:
        return None
    reference, improved, waited = -math.inf, None, 0
    for row in rows:
        if best.metric not in row:
            continue
        value = sign_of(best.mode) * row[best.metric]
        if math.isfinite(value) and value - section.min_delta > reference:
            reference, improved, waited = value, row["step"], 0
            continue
        waited += 1
        if waited == section.patience and row["step"] < total:
            return EarlyStop(row["step"], best.metric, section.patience, improved, total)
    return None


def describe_checkpoint(config: Config, step: int, ended: EarlyStop | None) -> dict[str, Any]:
    """Returns what results.json says of the checkpoint that `test` was measured with."""
    described: dict[str, Any] = {"step": step, "best": config.best.metric}
    return described | ({"stopped_early": ended.step} if ended else {})
