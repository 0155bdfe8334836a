"""Checks, before a run begins, that its processes would compute the same."""

from collections.abc import Mapping
from typing import Any

from lepton_jax.cluster.processes import Processes
from lepton_jax.errors import UserError
from lepton_jax.trees import flatten_dict

SHOWN = 5
"""Differences listed; more of them say nothing new."""


def check_same(processes: Processes, facts: Mapping[str, Any]) -> None:
    """Compares `facts`, JSON values in nested dicts, across processes; waits for all.

    Raises:
      UserError: in every process, naming who differs from process 0 in which key, with both values.
    """
    first, *others = (_flatten_facts(theirs) for theirs in processes.gather("facts", facts))
    lines = []
    for index, other in enumerate(others, start=1):
        for key in sorted(first.keys() | other.keys()):
            here, there = first.get(key, "nothing"), other.get(key, "nothing")
            if here != there:
                lines.append(
                    f"{processes.name(index)} differs from process 0: {key} {there} instead of "
                    f"{here}"
                )
    if lines:
        more = [f"and {len(lines) - SHOWN} more differences"] if len(lines) > SHOWN else []
        raise processes.agree_on(UserError("\n".join([*lines[:SHOWN], *more])))


def _flatten_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `{'packages.optax': '0.2.7'}` and the like; an empty mapping says nothing."""
    return {key: value for key, value in flatten_dict(facts).items() if value != {}}
