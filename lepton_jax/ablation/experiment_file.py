"""From an experiment file, or from flags, to an `Experiment` that is whole."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.ablation.experiment import Experiment, Variant, grid
from lepton_jax.config_file import literal, returned
from lepton_jax.errors import UserError, did_you_mean


def load(path: str) -> Experiment:
    """What `get_experiment()` of `FILE.py[:ARG]` returns, checked.

    Raises:
      UserError: naming the file and what is wrong with it.
    """
    file, _, arg = path.partition(":")
    expected = "an experiment file defines get_experiment() and returns an Experiment"
    found = returned(file, "get_experiment", arg, expected)
    if not isinstance(found, Experiment):
        raise UserError(f"{file}: get_experiment() returned {type(found).__name__}; {expected}")
    return checked(found, path)


def from_flags(
    config: str,
    overrides: Mapping[str, str],
    vary: Sequence[str],
    seeds: int,
    metric: str,
    mode: str,
) -> Experiment:
    """`--config=C --vary optimizer.learning_rate=1e-3,3e-4`: a grid, each key with its values."""
    values: dict[str, list[Any]] = {}
    for text in vary:
        key, equals, options = text.partition("=")
        if not equals or not options:
            raise UserError(f"--vary {text!r}: expected KEY=VALUE,VALUE,...")
        values[key] = _options(options)
    if mode not in ("max", "min"):
        raise UserError(f"--mode={mode}: expected max or min")
    experiment = Experiment(
        question=f"How does {metric} depend on {' and '.join(values) or 'the seed'}?",
        config=config,
        variants=grid(values) if values else [Variant("baseline")],
        seeds=range(seeds),
        metric=metric,
        mode="max" if mode == "max" else "min",
        changes={key: literal(text) for key, text in overrides.items()},
    )
    return checked(experiment, "the command line")


def _options(text: str) -> list[Any]:
    """`(8, 16), (32,)` and `0.1, 0.3` as Python reads them; else words between commas."""
    try:
        return list(ast.literal_eval(f"[{text}]"))
    except (ValueError, SyntaxError):
        return [literal(option.strip()) for option in text.split(",")]


def checked(experiment: Experiment, where: str) -> Experiment:
    """Raises `UserError` for what cannot be run or compared."""
    variants = [v.name for v in experiment.variants]
    if not variants:
        raise UserError(f"{where}: the experiment has no variants")
    if not experiment.seeds:
        raise UserError(f"{where}: the experiment has no seeds")
    if len(set(experiment.seeds)) < len(experiment.seeds):
        raise UserError(f"{where}: a seed is named twice: {list(experiment.seeds)}")
    seen: set[Any] = set()
    for v in experiment.variants:
        key = (v.name, tuple(sorted((k, str(x)) for k, x in v.tuning.items())))
        if key in seen:
            raise UserError(f"{where}: two variants are called {v.name!r}")
        seen.add(key)
        if "seed" in v.changes:
            raise UserError(f"{where}: variant {v.name!r} changes the seed; use Experiment.seeds")
    _known(experiment.baseline, variants, f"{where}: baseline")
    for name in experiment.published:
        _known(name, variants, f"{where}: published")
    return experiment


def _known(name: str, variants: Sequence[str], what: str) -> None:
    if name and variants and name not in variants:
        near, there = did_you_mean(name, variants), ", ".join(dict.fromkeys(variants))
        raise UserError(f"{what}: no variant is called {name!r}{near}; there are: {there}")
