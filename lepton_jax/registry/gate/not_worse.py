"""A bound on the distance to production: `test/accuracy>=production-0.01`."""

from dataclasses import dataclass

import numpy as np

from lepton_jax.config.gate_text import ACCURACY
from lepton_jax.evaluation.answered import AnsweredExamples
from lepton_jax.formats import count_things
from lepton_jax.registry.gate.condition import GateFinding, refuse
from lepton_jax.registry.gate.error_rates import POINT, find_error_rates
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.measures import measure_difference
from lepton_jax.registry.gate.of_examples import DRAWS, TESTS, lack_answers


@dataclass(frozen=True)
class NotWorse:
    """That a bundle is not worse than the one in production by more than a margin.

    Both answered the same examples, so they are compared example by example. The bundle meets the
    condition when the lower end of the interval of the difference is not below the margin.
    """

    margin: float

    def __str__(self) -> str:
        return f"{ACCURACY}>=production-{self.margin!r}"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Compares the answers with those of the bundle in production."""
        other = evidence.production
        if other is None:
            return GateFinding(str(self), "production holds nothing yet")
        if other.id == evidence.id:
            return GateFinding(str(self), "it is the bundle that production holds")
        for side in (evidence, other):
            if side.answered is None:
                lack = lack_answers(side)
                return GateFinding(str(self), lack.what, lack)
        assert evidence.answered is not None
        assert other.answered is not None
        if evidence.answered.data != other.answered.data:
            what = f"it answered other examples than {other.name}, which production holds"
            return refuse(self, "no evidence", what, "train and export it with the same data")
        return self._compare(evidence.answered, other.answered, other.name)

    def _compare(self, ours: AnsweredExamples, theirs: AnsweredExamples, name: str) -> GateFinding:
        population = measure_difference(ours, theirs)
        low, high = population.interval()
        said = (
            f"{ACCURACY} is {ours.right.mean():.4g}, and {theirs.right.mean():.4g} of {name} in "
            f"production: difference {population.value():+.4f}, 95 % interval {low:+.4f} to "
            f"{high:+.4f} ({count_things(population.counts[0, 1], 'answer')} became right, "
            f"{population.counts[1, 0]} became wrong)"
        )
        if low >= -self.margin:
            return GateFinding(str(self), said)
        what = f"{said}; the lower end must be >= {-self.margin:g}"
        cure = "train a better model, or measure on more examples"
        return refuse(self, "below the gate", what, cure)

    def chance(self, evidence: Evidence) -> str:
        """Says the error rates by the examples that both bundles keep."""
        other = evidence.production
        if other is None or other.id == evidence.id:
            return "its error rates are known when production holds another version"
        if evidence.answered is None or other.answered is None:
            return "its error rates are not known: a bundle keeps no answers to `test`"
        population = measure_difference(evidence.answered, other.answered)

        def meets(tests: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return population.intervals(tests, DRAWS, rng)[0] >= -self.margin

        return str(find_error_rates(population, meets, -self.margin - POINT, TESTS))
