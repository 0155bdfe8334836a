"""Loads an experiment from a file or from flags, and checks it."""

import ast
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.ablation.question.experiment import (
    Distribution,
    Experiment,
    Search,
    Variant,
    grid,
    tune_variants,
)
from lepton_jax.config import config_file
from lepton_jax.config.config import Config
from lepton_jax.config.config_file import parse_literal
from lepton_jax.config.plain import to_plain
from lepton_jax.config.recipes import find_recipe
from lepton_jax.config.schema import Seed, coerce_value
from lepton_jax.config.user_file import call_user_function
from lepton_jax.config.usual_mode import usual_mode
from lepton_jax.console import say
from lepton_jax.errors import UserError, choice_error, did_you_mean, quote
from lepton_jax.trees import flatten_dict

Seeds = tuple[Seed, ...]


def resolve_experiment(given: Any, folds: int = 0) -> Experiment:
    """Checks an experiment, or loads the file that is named. `folds`: in place of its own.

    Raises:
      UserError: for anything else, or as `load_experiment` does.
    """
    if isinstance(given, str | os.PathLike):
        given = load_experiment(os.fspath(given))
    if not isinstance(given, Experiment):
        raise UserError(f"expected an experiment file or an Experiment, got {quote(given)}")
    if folds:
        given = dataclasses.replace(given, folds=folds)
    check_experiment(given, "the experiment")
    return given


def load_experiment(path: str) -> Experiment:
    """Loads and checks what `get_experiment()` returns, of `FILE.py[:ARG]` or of an experiment of
    lepton_jax by its name, `mnist1d`.

    Raises:
      UserError: naming the file and what is wrong with it.
    """
    name, _, arg = os.path.expanduser(path).partition(":")
    file = find_recipe(name, "experiments")
    expected = "an experiment file defines get_experiment() and returns an Experiment"
    experiment = call_user_function(file, "get_experiment", arg, expected)
    if not isinstance(experiment, Experiment):
        kind = type(experiment).__name__
        raise UserError(f"{file}: get_experiment() returned {kind}; {expected}")
    check_experiment(experiment, path)
    return experiment


def change_experiment(experiment: Experiment, overrides: Mapping[str, Any]) -> Experiment:
    """Returns an experiment with keys of the config changed in all of its variants.

    Raises:
      UserError: when variants differ in one of these keys, or the config has it not.
    """
    resolved, _ = config_file.resolve_config(experiment.config, overrides)
    given = _values_of(resolved, overrides)
    varied = {k for v in experiment.variants for k in (*v.changes, *v.tuning)}
    varied |= {k for search in experiment.searches for k in (*search.changes, *search.space)}
    for key in given.keys() & varied:
        raise UserError(f"--config.{key}: the experiment itself varies {key}; leave it out")
    return dataclasses.replace(
        experiment,
        changes={**experiment.changes, **given},
        variants=_keep_named_keys(experiment.variants, given),
    )


def _values_of(config: Config, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keys that overrides name, with the values that the config has for them."""
    values = flatten_dict(config.to_dict())
    return {key: values.get(key, value) for key, value in flatten_dict(to_plain(overrides)).items()}


def _keep_named_keys(variants: Sequence[Variant], given: Mapping[str, Any]) -> list[Variant]:
    """Returns the variants with the keys `given` beside a component's name: where a variant takes
    another component, they do not fall back on its defaults.
    """
    kept = []
    for variant in variants:
        sections = [k.removesuffix("name") for k in variant.changes if k.endswith(".name")]
        again = {k: v for k, v in given.items() if k.startswith(tuple(sections))}
        kept.append(dataclasses.replace(variant, changes={**again, **variant.changes}))
    return kept


def experiment_from_flags(
    config: Any,
    overrides: Mapping[str, Any],
    vary: Sequence[Any],
    seeds: int,
    metric: str,
    mode: str,
    folds: int = 0,
    tune: Sequence[Any] = (),
) -> Experiment:
    """Makes the experiment of `--config=C --vary optimizer.learning_rate=1e-3,3e-4 ...`: a grid.
    The config may have any form that `resolve_config` takes. `tune`: keys and values in the form of
    `vary`, of which the best on 'valid' are reported.

    Without a `metric`, takes that of the config's `best`; without a `mode`, that of the config's
    `best` if it is of the same metric, else what the metric's name says, else 'max'.
    """
    values, tuned = _read_grid("--vary", vary, overrides), _read_grid("--tune", tune, overrides)
    for key in values.keys() & tuned.keys():
        raise UserError(f"--tune {key}: it is in --vary too; give it once")
    for key in ("data.folds", "data.fold"):
        if folds and key in overrides:
            raise UserError(
                f"--folds={folds} holds out every fold in turn; expected no "
                f"--config.{key}={overrides[key]}. For one fold alone leave out --folds, and give "
                f"--config.data.folds={folds} --config.data.fold=K"
            )
    resolved, _ = config_file.resolve_config(config, overrides)
    best = resolved.best
    metric = metric or best.metric.partition("/")[2]
    if not mode:
        mode = best.mode if best.metric == f"valid/{metric}" else usual_mode(metric) or "max"
    if mode not in ("max", "min"):
        raise choice_error("ablate: no mode", mode, ("max", "min"), "--mode")
    variants = grid(values) if values else [Variant("tuned" if tuned else "baseline")]
    variants = _keep_named_keys(variants, _values_of(resolved, overrides))
    experiment = Experiment(
        question=_ask(metric, list(values), list(tuned), folds),
        config=resolved,
        variants=tune_variants(variants, tuned) if tuned else variants,
        seeds=range(seeds),
        metric=metric,
        mode="max" if mode == "max" else "min",
        folds=folds,
    )
    check_experiment(experiment, "the command line")
    return experiment


def _ask(metric: str, keys: Sequence[str], tuned: Sequence[str], folds: int) -> str:
    """Returns the question of an experiment from flags, in words."""
    if tuned:
        on = f"at the {' and '.join(tuned)} that is best on valid"
        depends = f"How does {metric} depend on {' and '.join(keys)}, each {on}?"
        return depends if keys else f"What is the test {metric} {on}?"
    if folds and not keys:
        return f"What is the test {metric} over {folds} folds?"
    return f"How does {metric} depend on {' and '.join(keys) or 'the seed'}?"


def _read_grid(
    flag: str, given: Sequence[Any], overrides: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Reads keys and their values from every `flag`. Raises `UserError` for a key given twice."""
    values: dict[str, list[Any]] = {}
    for key, options in (pair for one in given for pair in _read_vary(flag, one)):
        if key in values or key in overrides:
            elsewhere = flag if key in values else f"--config.{key}"
            raise UserError(f"{flag} {key}: it is in another {elsewhere} too; give it once")
        values[key] = options
    return values


def _read_vary(flag: str, given: Any) -> list[tuple[str, list[Any]]]:
    """Reads `'KEY=VALUE,VALUE'`, or a mapping from keys to their values, as keys and values."""
    if isinstance(given, Mapping):
        given = to_plain(given)
        if all(isinstance(options, list | tuple) and options for options in given.values()):
            return [(key, list(options)) for key, options in given.items()]
    elif isinstance(given, str):
        key, _, options = given.partition("=")
        if key and options:
            return [(key, _options(options))]
    raise UserError(
        f"{flag} {quote(given)}: expected KEY=VALUE,VALUE,...; "
        "such as optimizer.learning_rate=1e-3,3e-3"
    )


def _options(text: str) -> list[Any]:
    """Reads values between commas as Python does, `(8, 16), (32,)`; else as words."""
    try:
        return list(ast.literal_eval(f"[{text}]"))
    except (ValueError, SyntaxError):
        return [parse_literal(option.strip()) for option in text.split(",")]


def check_experiment(experiment: Experiment, where: str) -> None:
    """Checks that an experiment can be run and its variants compared.

    Raises:
      UserError: for the first fault; the message begins with `where` the experiment comes from.
    """
    if not experiment.names:
        raise UserError(
            f"{where}: the experiment has no variants and no searches; give variants=[...]"
        )
    usual = usual_mode(experiment.metric)
    if usual and usual != experiment.mode:
        say(
            f"warning: {where}: metric = {experiment.metric!r} with mode = {experiment.mode!r} "
            f"takes the worst for the best; did you mean {usual!r}?"
        )
    seeds = _read_seeds(experiment.seeds, f"{where}: seeds")
    if not seeds:
        raise UserError(f"{where}: the experiment has no seeds")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"{where}: a seed is named twice: {seeds}")
    seen: set[Any] = set()
    for v in experiment.variants:
        key = (v.name, tuple(sorted((k, str(x)) for k, x in v.tuning.items())))
        if key in seen:
            raise UserError(f"{where}: two variants are called {v.name!r}; give each its own name")
        seen.add(key)
        if "seed" in v.changes:
            raise UserError(
                f"{where}: variant {v.name!r} changes the seed; use Experiment.seeds, or --seeds=N"
            )
        if {"data.fold", "data.folds"} & {*v.changes, *v.tuning, *experiment.changes}:
            raise UserError(f"{where}: variant {v.name!r} changes a fold; use Experiment.folds")
    if experiment.folds == 1 or experiment.folds < 0:
        raise UserError(f"{where}: folds = {experiment.folds}: expected 2 or more, or 0 for none")
    if experiment.folds and experiment.searches:
        raise UserError(f"{where}: a search compares its draws on one split; expected no folds")
    names = [v.name for v in experiment.variants]
    for search in experiment.searches:
        _check_search(search, f"{where}: search {search.name!r}")
        if search.name in names:
            raise UserError(f"{where}: {search.name!r} is the name of two variants or searches")
        names.append(search.name)
    _check_name(experiment.baseline, experiment.names, f"{where}: baseline")
    for name in experiment.published:
        _check_name(name, experiment.names, f"{where}: published")


def _read_seeds(given: Any, what: str) -> list[int]:
    try:
        return list(coerce_value(to_plain(given if hasattr(given, "dtype") else [*given]), Seeds))
    except (TypeError, ValueError) as e:
        raise UserError(f"{what}: {e}") from None


def _check_search(search: Search, what: str) -> None:
    if not search.space:
        raise UserError(f"{what}: its space is empty; name keys and where their values come from")
    for key, distribution in search.space.items():
        if not isinstance(distribution, Distribution):
            raise UserError(
                f"{what}, {key}: {distribution!r} is no distribution; expected uniform(low, high), "
                "log_uniform(low, high), integer(low, high) or choice(a, b)"
            )
        if key == "seed":
            raise UserError(f"{what} draws the seed; use Experiment.seeds")
    _read_seeds([search.seed], f"{what}: seed")
    if search.sampler not in ("random", "tpe"):
        near = did_you_mean(search.sampler, ("random", "tpe"))
        raise UserError(f"{what}: no sampler {search.sampler!r}{near}; there are: random, tpe")
    for name, value, least in (
        ("trials", search.trials, 1),
        ("batch", search.batch, 1),
        ("reduction", search.reduction, 2),
    ):
        if value < least:
            raise UserError(f"{what}: {name}={value}; expected {least} or more")
    if list(search.rungs) != sorted(set(search.rungs)) or not all(0 < r < 1 for r in search.rungs):
        raise UserError(f"{what}: rungs={search.rungs}; expected rising shares between 0 and 1")
    if not 1 <= search.brackets <= len(search.rungs) + 1:
        raise UserError(
            f"{what}: brackets={search.brackets}; expected 1 to {len(search.rungs) + 1}, as it has "
            f"{len(search.rungs)} rungs"
        )


def _check_name(name: str, variants: Sequence[str], what: str) -> None:
    if name and name not in variants:
        near, there = did_you_mean(name, variants), ", ".join(dict.fromkeys(variants))
        raise UserError(f"{what}: no variant is called {name!r}{near}; there are: {there}")
