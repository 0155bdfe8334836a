"""Judges a bundle by a gate."""

from collections.abc import Iterable

from lepton_jax.registry.gate.condition import Condition, GateFinding
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.grammar import parse_condition
from lepton_jax.registry.gate.of_config import list_of_config


def parse_gate(texts: Iterable[str]) -> list[Condition]:
    """Parses the conditions of a gate, `['test/accuracy>=0.98', 'signed']`.

    Raises:
      UserError: when one is none.
    """
    return [parse_condition(text) for text in texts]


def list_conditions(gate: Iterable[str], evidence: Evidence) -> list[Condition]:
    """Lists all that a bundle must meet: a gate, and what the config of its run asks for besides.

    Raises:
      UserError: when a condition of the gate is none.
    """
    conditions = parse_gate(gate)
    return [*conditions, *list_of_config(evidence, conditions)]


def judge_by_gate(gate: Iterable[str], evidence: Evidence) -> list[GateFinding]:
    """Lists what each condition of a gate, and of the bundle's config, finds out about a bundle."""
    return [condition.judge(evidence) for condition in list_conditions(gate, evidence)]
