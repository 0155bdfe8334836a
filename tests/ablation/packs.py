"""Trials that are run in packs, and how far two records are apart."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_jax.ablation import Experiment, Variant
from lepton_jax.ablation.question.trials import Trial, expand_trials
from lepton_jax.ablation.run.pack import DueTrial, plan_packs
from lepton_jax.ablation.run.run_pack import run_pack


def run_packed(
    folder: Path, config: str, variants: Sequence[Variant], changes: Mapping[str, Any],
    at_once: str = "99", seeds: Sequence[int] = (0, 1), ok: bool = True,
) -> list[Trial]:  # fmt: skip
    """Runs the trials of variants in packs, `at_once` lanes each; returns the trials."""
    experiment = Experiment(
        question="?", config=config, variants=variants, seeds=seeds, changes=changes
    )
    trials = expand_trials(experiment)
    due = [DueTrial(trial) for trial in trials]
    for pack in plan_packs(str(folder), due, at_once=at_once, workers=1):
        pack.write()
        assert run_pack(pack.folder).ok is ok
    return trials


def read_rows(workdir: Path) -> list[dict[str, Any]]:
    """Reads what a record holds of each step."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def largest_difference(a: Path, b: Path) -> float:
    """Computes the largest relative difference of two records' metrics.

    Their rows and names must be the same.
    """
    largest = 0.0
    for x, y in zip(read_rows(a), read_rows(b), strict=True):
        assert x.keys() == y.keys()
        assert x["step"] == y["step"]
        for name in x:
            if name.endswith(("loss", "grad_norm", "accuracy")):
                largest = max(largest, abs(x[name] - y[name]) / max(abs(x[name]), 1e-300))
    return largest
