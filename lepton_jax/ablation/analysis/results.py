"""What the trials of an experiment came to: all that the report, the answer and `watch` see."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lepton_jax.ablation.question.experiment import Published

TrialState = Literal["waiting", "running", "stopped", "pruned", "finished", "failed", "lost"]
"""`failed`: by its own error, or its numbers were not finite. `lost`: killed; it resumes. `pruned`:
a search stopped it for good."""

ENDED: tuple[TrialState, ...] = ("finished", "failed", "pruned")
"""States that no later command changes by itself."""


@dataclass(frozen=True)
class Outcome:
    """What one trial came to."""

    variant: str
    seed: int
    workdir: str
    state: TrialState
    reason: str
    """Why it failed, in a sentence; else ''."""
    tuning: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]
    """`{key: (of the baseline, its own)}`, where the two configs differ."""
    valid: float | None
    """The metric on `valid` at the trial's best checkpoint, which tuning and selection go by."""
    test: float | None
    """The metric on `test` at the same checkpoint: what is reported."""
    curve: tuple[tuple[int, float], ...]
    """(step, metric on `valid`)."""
    device_seconds: float
    command: str
    """Runs it again, alone."""


@dataclass(frozen=True)
class Results:
    """An experiment with the outcomes of all its trials, finished or not."""

    question: str
    metric: str
    mode: Literal["max", "min"]
    baseline: str
    variants: tuple[str, ...]
    """In the order of the experiment; the baseline is one of them."""
    outcomes: tuple[Outcome, ...]
    published: Mapping[str, Published]
    provenance: Mapping[str, Any]

    def reported(self, variant: str) -> tuple[Outcome, ...]:
        """The variant's outcomes, by seed; of several tunings, those of the best one on `valid`
        among those that ran under the most seeds.
        """
        mine = [o for o in self.outcomes if o.variant == variant]
        tunings: dict[tuple[Any, ...], list[Outcome]] = {}
        for o in mine:
            tunings.setdefault(tuple(sorted((k, str(v)) for k, v in o.tuning.items())), []).append(
                o
            )
        chosen = max(tunings.values(), key=lambda t: (len(t), self._merit(t)), default=[])
        return tuple(sorted(chosen, key=lambda o: o.seed))

    def _merit(self, outcomes: list[Outcome]) -> float:
        """The mean on `valid`, larger being better; a tuning with a failed trial comes last."""
        values = [
            o.valid
            for o in outcomes
            if o.valid is not None
            and math.isfinite(o.valid)
            and o.state not in ("failed", "stopped", "pruned")
        ]
        if len(values) < len(outcomes) or not values:
            return float("-inf")
        mean = sum(values) / len(values)
        return mean if self.mode == "max" else -mean
