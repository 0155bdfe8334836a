"""A bound on what is measured on the examples that a bundle keeps, or on the end of its interval:
`recall(each)>=0.9`, `robust(noise,3)>=0.9`, `lower(test/accuracy)>=0.97`.
"""

from dataclasses import dataclass

import numpy as np

from lepton_jax.config.conditions import COMPARISONS
from lepton_jax.config.gate_text import ACCURACY, CALIBRATION, ENDS, ROBUST
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, list_names
from lepton_jax.registry.gate.condition import GateFinding, refuse
from lepton_jax.registry.gate.error_rates import POINT, find_error_rates
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.measures import (
    EACH,
    measure_accuracy,
    measure_calibration,
    measure_rate,
    measure_robust,
)
from lepton_jax.registry.gate.population import Population
from lepton_jax.registry.verified import Refusal

TESTS, DRAWS = 400, 100
"""Tests that are drawn for an error rate, and draws for the interval of each."""


@dataclass(frozen=True)
class Measure:
    """What is measured: `test/accuracy`, `calibration`, a rate of a class, or `robust`."""

    name: str
    of: str = ""
    """The class, or the corruption and its severity, 'noise,3'."""

    def __str__(self) -> str:
        return f"{self.name}({self.of})" if self.of else self.name

    def count(self, evidence: Evidence) -> Population | Refusal:
        """Counts the answers of a bundle, or says why they are not known."""
        if self.name == ROBUST:
            if self.of in evidence.robustness:
                return measure_robust(str(self), *evidence.robustness[self.of])
            there = list_names(evidence.robustness) or "none"
            what = f"the verdict on {evidence.name} states no {self} (it has: {there})"
            line = format_command("verify --bundle=DIR --robust")
            return Refusal("no evidence", what, f"run: {line}, and register it again")
        if evidence.answered is None:
            return lack_answers(evidence)
        if self.name == ACCURACY:
            return measure_accuracy(evidence.answered)
        if self.name == CALIBRATION:
            return measure_calibration(evidence.answered)
        try:
            return measure_rate(evidence.answered, self.name, self.of, evidence.classes)
        except UserError as e:
            return Refusal("no evidence", str(e), "set the gate again")


@dataclass(frozen=True)
class ExampleBound:
    """A bound on a measure of the examples, or on one end of its interval."""

    measure: Measure
    end: str
    """'lower' or 'upper'; '' for the measure itself."""
    compare: str
    bound: float

    def __str__(self) -> str:
        name = f"{self.end}({self.measure})" if self.end else str(self.measure)
        return f"{name}{self.compare}{self.bound!r}"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Measures the answers that are known of the bundle."""
        population = self.measure.count(evidence)
        if isinstance(population, Refusal):
            return GateFinding(str(self), population.what, population)
        value, ends = population.value(), population.interval()
        said = (
            f"{self.measure} is {value:.4g}{self._which(population, evidence)}, 95 % interval "
            f"{ends[0]:.4g} to {ends[1]:.4g}"
        )
        number = ends[ENDS.index(self.end)] if self.end else value
        if COMPARISONS[self.compare](number, self.bound):
            return GateFinding(str(self), said)
        what = f"{said}; {self.end or 'it'}{' end' * bool(self.end)} must be "
        what += f"{self.compare} {self.bound:g}"
        return refuse(self, "below the gate", what, "train a better model")

    def _which(self, population: Population, evidence: Evidence) -> str:
        if self.measure.of != EACH:
            return ""
        return f" (lowest: {evidence.classes[int(population.touched.argmax())]})"

    def chance(self, evidence: Evidence) -> str:
        """Says the error rates by the answers that are known of the bundle."""
        population = self.measure.count(evidence)
        if isinstance(population, Refusal):
            return f"its error rates are not known: {population.what}"

        def meets(tests: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            numbers = population.measure(tests)
            if self.end:
                numbers = population.intervals(tests, DRAWS, rng)[ENDS.index(self.end)]
            return np.asarray(COMPARISONS[self.compare](numbers, self.bound))

        worse = self.bound - POINT if self.compare in (">=", ">") else self.bound + POINT
        return str(find_error_rates(population, meets, worse, TESTS if self.end else 20 * TESTS))


def lack_answers(evidence: Evidence) -> Refusal:
    """Returns the refusal of a bundle that keeps no answers, with what helps."""
    return Refusal(
        "no evidence",
        f"{evidence.name} keeps no answers to the examples of `test`",
        "export it again; answers are kept where they are classes and the data has `test`",
    )
