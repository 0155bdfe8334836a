"""Two models compared on the same examples, answer by answer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lepton_jax.evaluation.answered import AnsweredExamples
from lepton_jax.registry.gate.measures import measure_difference
from lepton_jax.serving import loader


@dataclass(frozen=True)
class PairedComparison:
    """How often two models are right on the same examples."""

    data: str
    """Which examples: 'old' or 'new'."""
    examples: int
    champion: float
    """The accuracy of the model in production."""
    challenger: float
    """The accuracy of the model that shall take its place."""
    low: float
    high: float
    """The ends of the 95 % interval of the difference, by the bootstrap that gates use."""
    became_right: int
    became_wrong: int
    p_value: float
    """Of McNemar's exact test that right answers are gained as often as lost."""

    @property
    def is_better(self) -> bool:
        """Whether the challenger is better beyond chance."""
        return self.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether the challenger is worse beyond chance."""
        return self.high < 0

    def __str__(self) -> str:
        return (
            f"{self.data} data, {self.examples:,} examples: accuracy {self.champion:.4g} -> "
            f"{self.challenger:.4g}, difference {self.challenger - self.champion:+.4f}, 95 % "
            f"interval {self.low:+.4f} to {self.high:+.4f}, McNemar's p {self.p_value:.2g} "
            f"({self.became_right} became right, {self.became_wrong} became wrong)"
        )


def compare_answers(
    data: str, champion: AnsweredExamples, challenger: AnsweredExamples
) -> PairedComparison:
    """Compares what two models answered to the same examples (McNemar 1947, in its exact form).

    Raises:
      ValueError: when they answered other examples.
    """
    if champion.data != challenger.data:
        raise ValueError("the two models answered other examples")
    from scipy.stats import binomtest

    population = measure_difference(challenger, champion)
    low, high = population.interval()
    gained, lost = int(population.counts[0, 1]), int(population.counts[1, 0])
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return PairedComparison(
        data, len(champion), float(champion.right.mean()), float(challenger.right.mean()),
        low, high, gained, lost, float(p),
    )  # fmt: skip


def answer_examples(
    bundle: loader.Bundle, inputs: Mapping[str, np.ndarray], label: np.ndarray
) -> AnsweredExamples:
    """Answers examples `[N, ...]`, whose true classes are `label` [N], by a bundle.

    Raises:
      InputError: when they are no inputs of the bundle.
      BundleError: when it cannot answer.
    """
    outputs = bundle.predict(inputs)
    digest = hashlib.sha256()
    for array in (*(inputs[name] for name in sorted(inputs)), label):
        digest.update(np.ascontiguousarray(array).tobytes())
    said, sure = outputs["label"].astype(np.int32), outputs["probabilities"].astype(np.float32)
    rows = np.arange(len(label))
    return AnsweredExamples(
        rows.astype(np.int32), label.astype(np.int32), said, sure[rows, said], sure[rows, label],
        len(label), f"sha256:{digest.hexdigest()}",
    )  # fmt: skip
