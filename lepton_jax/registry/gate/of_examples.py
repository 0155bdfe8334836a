"""A bound on what is measured on the examples that a bundle keeps, or on the end of its interval:
`recall(each)>=0.9`, `calibration<=0.05`, `lower(test/accuracy)>=0.97`.
"""

from dataclasses import dataclass

import numpy as np

from lepton_jax.errors import UserError
from lepton_jax.registry.gate.condition import Condition, GateFinding, refuse
from lepton_jax.registry.gate.error_rates import POINT, find_error_rates
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.measures import (
    ACCURACY,
    CALIBRATION,
    EACH,
    measure_accuracy,
    measure_calibration,
    measure_rate,
)
from lepton_jax.registry.gate.population import Population
from lepton_jax.tracking.conditions import COMPARISONS

ENDS = ("lower", "upper")
TESTS, DRAWS = 400, 100
"""Tests that are drawn for an error rate, and draws for the interval of each."""


@dataclass(frozen=True)
class Measure:
    """What is measured: `test/accuracy`, `calibration`, or a rate of a class."""

    name: str
    of_class: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.of_class})" if self.of_class else self.name

    def population(self, evidence: Evidence) -> Population:
        """Counts the examples of a bundle. Raises `UserError` when there is no such class."""
        assert evidence.answered is not None
        if self.name == ACCURACY:
            return measure_accuracy(evidence.answered)
        if self.name == CALIBRATION:
            return measure_calibration(evidence.answered)
        return measure_rate(evidence.answered, self.name, self.of_class, evidence.classes)


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
        """Measures the examples that the bundle keeps."""
        if evidence.answered is None:
            return refuse_unanswered(self, evidence)
        try:
            population = self.measure.population(evidence)
        except UserError as e:
            return refuse(self, "no evidence", str(e), "set the gate again")
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
        if self.measure.of_class != EACH:
            return ""
        return f" (lowest: {evidence.classes[int(population.touched.argmax())]})"

    def chance(self, evidence: Evidence) -> str:
        """Says the error rates by the examples that the bundle keeps."""
        if evidence.answered is None:
            return "its error rates are not known: the bundle keeps no answers to `test`"
        population = self.measure.population(evidence)

        def meets(tests: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            numbers = population.measure(tests)
            if self.end:
                numbers = population.intervals(tests, DRAWS, rng)[ENDS.index(self.end)]
            return np.asarray(COMPARISONS[self.compare](numbers, self.bound))

        worse = self.bound - POINT if self.compare in (">=", ">") else self.bound + POINT
        return str(find_error_rates(population, meets, worse, TESTS if self.end else 20 * TESTS))


def refuse_unanswered(condition: Condition, evidence: Evidence) -> GateFinding:
    """Returns the finding that a bundle keeps no answers, with what helps."""
    return refuse(
        condition,
        "no evidence",
        f"{evidence.name} keeps no answers to the examples of `test`",
        "export it again; answers are kept where they are classes and the data has `test`",
    )
