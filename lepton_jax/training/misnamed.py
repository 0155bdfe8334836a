"""Finds methods of a user's parts that were meant to take the place of others, and are misspelt:
what they were meant to replace would run in silence.
"""

import difflib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping

from lepton_jax.config.components import Component, resolve_component
from lepton_jax.config.config import Config
from lepton_jax.config.user_code import definition_of
from lepton_jax.metrics.metric import GatheredMetric, SummedMetric
from lepton_jax.models import model
from lepton_jax.tasks import task
from lepton_jax.training.learner import Learner

ALIKE = 0.8
"""How alike two names are, from 0 to 1, before one is taken for a slip of the other: a method of
the user's own may have any name."""

CONTRACTS: Mapping[str, tuple[type, ...]] = {
    "task": (
        task.Task, task.DeclaresAnswer, task.RanksExamples, task.AlignsAnswers, task.CarriesState,
        Learner,
    ),
    "model": (
        model.Sharded, model.CachedModel, model.HasContext, model.AlignedModel, model.LatentModel,
    ),
    "metric": (SummedMetric, GatheredMetric),
}  # fmt: skip
"""By the kind of a part, the contracts that name its methods."""


def misnamed_methods(config: Config) -> Iterator[str]:
    """Yields a sentence on each method of a user's task, model or metric that nothing calls and
    whose name is near to that of a method which it leaves as it is.
    """
    metrics = [*config.metrics.values()]
    metrics += [m for section in config.evals.values() for m in section.metrics.values()]
    parts: list[Component] = [config.task, config.model, *metrics]
    for kind, name in dict.fromkeys((part.kind, part.name) for part in parts):
        if ":" in name and inspect.isclass(part := resolve_component(kind, name)):
            yield from _misnamed_of(part, CONTRACTS[kind])


def _misnamed_of(part: type, contracts: tuple[type, ...]) -> Iterator[str]:
    of_contracts = {name for contract in contracts for name in _methods(contract)}
    for i, owner in enumerate(part.__mro__):
        parents = [c for c in part.__mro__[i + 1 :] if not _is_library(c)]
        if _is_library(owner) or owner.__module__.startswith("lepton_jax."):
            continue
        inherited = {name for parent in parents for name in _methods(parent)} | of_contracts
        for name in _methods(owner):
            if not inspect.isfunction(vars(owner)[name]) or name in inherited:
                continue
            missing = sorted(inherited - {n for c in part.__mro__[: i + 1] for n in vars(c)})
            near = difflib.get_close_matches(name, missing, n=1, cutoff=ALIKE)
            if near and not _is_mentioned(name, part):
                where = definition_of(vars(owner)[name])
                heir = next((p.__name__ for p in parents if hasattr(p, near[0])), "")
                yield (
                    f"{owner.__name__}.{name}{f' ({where})' if where else ''} is called by nothing "
                    f"(did you mean '{near[0]}'?); "
                    + (f"{near[0]} is that of {heir}" if heir else f"there is no {near[0]}")
                )


def _methods(cls: type) -> list[str]:
    """Lists the public methods and properties that a class itself defines."""
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    ]


def _is_library(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("builtins", "flax", "abc", "typing")


def _is_mentioned(name: str, part: type) -> bool:
    """Tells whether the files of a part have a name elsewhere than where it is defined."""
    for module in {c.__module__ for c in part.__mro__ if not _is_library(c)}:
        try:
            source = inspect.getsource(sys.modules[module])
        except (OSError, TypeError, KeyError):
            continue
        if re.search(rf"(?<!def )\b{name}\b", source):
            return True
    return False
