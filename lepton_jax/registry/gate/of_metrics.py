"""A bound on a number that was measured: `test/accuracy>=0.98`."""

from dataclasses import dataclass

import numpy as np

from lepton_jax.config.conditions import COMPARISONS
from lepton_jax.config.gate_text import ACCURACY
from lepton_jax.console import format_command
from lepton_jax.errors import list_names
from lepton_jax.registry.gate.condition import GateFinding, refuse
from lepton_jax.registry.gate.error_rates import POINT, find_error_rates
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.measures import measure_accuracy

TESTS = 20_000
"""Tests that are drawn for an error rate."""


@dataclass(frozen=True)
class MetricBound:
    """A bound on a metric as the bundle states it."""

    metric: str
    compare: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{self.compare}{self.bound!r}"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Compares the number in metrics.json with the bound."""
        value = evidence.metrics.get(self.metric)
        if value is None:
            there = list_names(sorted(evidence.metrics)) or "none"
            what = (
                f"the gate asks for {self}, but the bundle states no {self.metric!r} "
                f"(it has: {there})"
            )
            cure = f"run: {format_command('evaluate --workdir=DIR')}, and export again"
            return refuse(self, "metric missing", what, cure)
        if not COMPARISONS[self.compare](value, self.bound):
            what = f"{self.metric} is {value:.6g}, must be {self.compare} {self.bound:g}"
            return refuse(self, "below the gate", what, "train a better model")
        return GateFinding(str(self), f"{self.metric} is {value:.6g}")

    def chance(self, evidence: Evidence) -> str:
        """Says the error rates of a bound on the accuracy; of other metrics they are not known."""
        if self.metric != ACCURACY:
            return f"its error rates are not known: examples are kept for {ACCURACY} alone"
        if evidence.answered is None:
            return "its error rates are not known: the bundle keeps no answers to `test`"
        population = measure_accuracy(evidence.answered)
        compare = COMPARISONS[self.compare]
        rises = self.compare in (">=", ">")
        return str(
            find_error_rates(
                population,
                lambda tests, _: np.asarray(compare(population.measure(tests), self.bound)),
                self.bound - POINT if rises else self.bound + POINT,
                TESTS,
            )
        )
