"""Trials: an experiment spelled out as runs, every config of them validated."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.question.experiment import Experiment, Variant
from lepton_jax.config import config_file
from lepton_jax.config.config import Config, program_key
from lepton_jax.config.validation import change_config
from lepton_jax.errors import UserError
from lepton_jax.trees import flatten_dict


@dataclass(frozen=True)
class Trial:
    """One run of an experiment."""

    variant: str
    tuning: Mapping[str, Any]
    seed: int
    config: Config
    name: str
    """Of its folder below the experiment's workdir; the same recipe has the same name."""

    @property
    def program(self) -> str:
        """Trials with the same key run the same compiled program."""
        return program_key(self.config)


def expand_trials(experiment: Experiment) -> list[Trial]:
    """Every variant under every seed, in order.

    Raises:
      UserError: listing the faults of every variant's config.
    """
    bases: dict[str, Config] = {}
    found, faults = [], []
    for variant in experiment.variants:
        path = variant.config or experiment.config
        if path not in bases:
            bases[path] = load_base_config(path, experiment)
        try:
            found += expand_variant(variant, bases[path], experiment.seeds)
        except UserError as e:
            faults.append(str(e))
    if faults:
        raise UserError("\n".join(faults))
    return found


def load_base_config(path: str, experiment: Experiment) -> Config:
    """The config of a file with what every variant of the experiment changes."""
    base, _ = config_file.load_config(path)
    return change_config(base, experiment.changes, path)


def expand_variant(variant: Variant, base: Config, seeds: Iterable[int]) -> list[Trial]:
    """The variant of a config under every seed. Raises `UserError` for what it does not allow."""
    config = base
    if variant.changes or variant.tuning:
        config = change_config(
            base, {**variant.changes, **variant.tuning}, f"variant {variant.name!r}"
        )
    found = []
    for seed in seeds:
        own = dataclasses.replace(config, seed=int(seed))
        name = f"{folder_name(variant.name)}-{seed}-{own.fingerprint()}"
        found.append(Trial(variant.name, variant.tuning, int(seed), own, name))
    return found


def changes_from_baseline(config: Config, baseline: Config) -> dict[str, tuple[Any, Any]]:
    """`{key: (the baseline's, its own)}` where two trials differ, but for the seed."""
    a, b = flatten_dict(baseline.to_dict()), flatten_dict(config.to_dict())
    keys = dict.fromkeys([*a, *b])
    return {k: (a.get(k), b.get(k)) for k in keys if k != "seed" and a.get(k, "-") != b.get(k, "-")}


def group_by_program(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Trials that may share a compiled program, by its key."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.program, []).append(trial)
    return found


def folder_name(name: str) -> str:
    """A name as a folder may have it."""
    return re.sub(r"[^\w.=+-]+", "_", name)[:60].strip("_") or "variant"
