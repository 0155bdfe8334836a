"""Judges a bundle by a gate."""

from collections.abc import Iterable

from lepton_jax.registry.gate.condition import Condition, GateFinding
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.grammar import parse_condition


def parse_gate(texts: Iterable[str]) -> list[Condition]:
    """Parses the conditions of a gate, `['test/accuracy>=0.98', 'signed']`.

    Raises:
      UserError: when one is none.
    """
    return [parse_condition(text) for text in texts]


def judge_by_gate(gate: Iterable[str], evidence: Evidence) -> list[GateFinding]:
    """Lists what each condition of a gate finds out about a bundle."""
    return [condition.judge(evidence) for condition in parse_gate(gate)]
