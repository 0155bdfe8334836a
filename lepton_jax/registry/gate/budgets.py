"""Budgets of what an answer costs: `latency<=5ms`, `size<=10MB`."""

from collections.abc import Mapping
from dataclasses import dataclass

from lepton_jax.config.conditions import COMPARISONS
from lepton_jax.config.gate_text import SIZES, TIMES
from lepton_jax.console import format_command
from lepton_jax.registry.gate.condition import GateFinding, refuse
from lepton_jax.registry.gate.evidence import Evidence


@dataclass(frozen=True)
class LatencyBound:
    """A bound on the processor time of an answer to one example, as `verify` measured it."""

    compare: str
    bound: float
    unit: str

    def __str__(self) -> str:
        return f"latency{self.compare}{self.bound:g}{self.unit}"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Compares the time of the default program on the CPU of the machine that verified it."""
        program = evidence.verdict.get("default_program_on_cpu", "stablehlo")
        try:
            seconds = float(evidence.verdict["seconds"][program]["1"])
        except (KeyError, TypeError, ValueError):
            what = f"the verdict on {evidence.name} states no time of an answer"
            cure = f"run: {format_command('verify --bundle=DIR')}, and register it again"
            return refuse(self, "no evidence", what, cure)
        said = f"one answer takes {seconds / TIMES[self.unit]:.3g} {self.unit} ({program})"
        return _judge(self, seconds, TIMES, said)

    def chance(self, evidence: Evidence) -> str:
        return "no example is drawn: it is the least of the times measured on one machine"


@dataclass(frozen=True)
class SizeBound:
    """A bound on the bytes of a bundle's files."""

    compare: str
    bound: float
    unit: str

    def __str__(self) -> str:
        return f"size{self.compare}{self.bound:g}{self.unit}"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Compares the sum of the sizes in the manifest."""
        said = f"its files have {evidence.bytes / SIZES[self.unit]:.3g} {self.unit}"
        return _judge(self, evidence.bytes, SIZES, said)

    def chance(self, evidence: Evidence) -> str:
        return ""


def _judge(
    budget: LatencyBound | SizeBound, cost: float, units: Mapping[str, float], said: str
) -> GateFinding:
    """Compares a cost, in seconds or bytes, with a bound in its unit."""
    if COMPARISONS[budget.compare](cost, budget.bound * units[budget.unit]):
        return GateFinding(str(budget), said)
    what = f"{said}, must be {budget.compare} {budget.bound:g} {budget.unit}"
    return refuse(budget, "below the gate", what, "train a smaller model")
