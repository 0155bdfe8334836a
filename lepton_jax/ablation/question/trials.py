"""Trials: the runs that an experiment consists of, each with its validated config."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.question.experiment import Experiment, Variant
from lepton_jax.config import config_file
from lepton_jax.config.config import Config
from lepton_jax.config.plain import to_plain
from lepton_jax.config.trialable import program_key
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
    """The name of its folder below the experiment's workdir. Equal configs have equal names."""
    fold: int | None = None
    """The fold that is its 'test', in a cross-validation."""

    @property
    def program(self) -> str:
        """The key of its compiled program, which trials with the same key share."""
        return program_key(self.config)


def expand_trials(experiment: Experiment) -> list[Trial]:
    """Makes the trials of every variant under every seed, on every fold, in order.

    Raises:
      UserError: listing the faults of every variant's config, one that several have only once.
    """
    bases: dict[int, Config] = {}
    trials: list[Trial] = []
    faults: dict[str, UserError] = {}
    for variant in experiment.variants:
        given = variant.config if variant.config != "" else experiment.config
        if id(given) not in bases:
            bases[id(given)] = load_base_config(given, experiment)
        try:
            trials += expand_variant(variant, bases[id(given)], experiment.seeds, experiment.folds)
        except UserError as e:
            faults.setdefault(str(e).removeprefix(f"variant {variant.name!r}: "), e)
    if faults:
        first = next(iter(faults.values()))
        raise first.retold("\n".join(map(str, faults.values())))
    return trials


def load_base_config(config: Any, experiment: Experiment) -> Config:
    """Loads a config and makes the changes that all variants of the experiment share."""
    base, _ = config_file.resolve_config(config)
    name = config if isinstance(config, str) else "the config"
    return change_config(base, experiment.changes, f"{name} with Experiment.changes")


def expand_variant(
    variant: Variant, base: Config, seeds: Iterable[int], folds: int = 0
) -> list[Trial]:
    """Makes the trials of one variant: its config, changed from `base`, under every seed. With
    `folds`, each of these on every fold.

    Raises:
      UserError: when the variant changes a key that the config has not, or to a wrong value.
    """
    config = base
    if variant.changes or variant.tuning:
        config = change_config(
            base, {**variant.changes, **variant.tuning}, f"variant {variant.name!r}"
        )
    trials = []
    for seed, fold in itertools.product(seeds, range(folds) if folds else [None]):
        seeded, held_out = dataclasses.replace(config, seed=int(seed)), ""
        if fold is not None:
            data = dataclasses.replace(config.data, folds=folds, fold=fold)
            seeded, held_out = dataclasses.replace(seeded, data=data), f"-fold{fold}"
        name = f"{folder_name(variant.name)}-{seed}{held_out}-{seeded.fingerprint()}"
        tuning = to_plain(variant.tuning)
        trials.append(Trial(variant.name, tuning, int(seed), seeded, name, fold))
    return trials


def changes_from_baseline(config: Config, baseline: Config) -> dict[str, tuple[Any, Any]]:
    """Returns `{key: (value of the baseline, value of config)}` where the two differ.

    The seed and the fold are left out. A key that one of them has not counts as None there.
    """
    a, b = flatten_dict(baseline.to_dict()), flatten_dict(config.to_dict())
    keys = dict.fromkeys([*a, *b])
    same = ("seed", "data.fold")
    return {
        k: (a.get(k), b.get(k)) for k in keys if k not in same and a.get(k, "-") != b.get(k, "-")
    }


def group_by_program(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Groups trials that may share a compiled program, by its key."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.program, []).append(trial)
    return groups


def folder_name(name: str) -> str:
    """Makes a folder's name of a variant's: at most 60 letters, digits and `_.=+-`."""
    return re.sub(r"[^\w.=+-]+", "_", name)[:60].strip("_") or "variant"
