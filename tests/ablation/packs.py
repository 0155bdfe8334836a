"""Trials that are run in packs."""

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
