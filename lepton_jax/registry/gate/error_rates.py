"""How often a gate errs: simulated on the examples of the bundle that it is set with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_jax.registry.gate.population import Population, draw_tests

POINT = 0.01
"""How much worse than the bound the model is of which a gate says how often it passes."""

ENOUGH = 0.05
"""The error rate for which the number of examples is said."""

MOST_EXAMPLES = 1_000_000
"""The largest number of examples that is considered."""

Meets = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Tells which of several tests, counts `[S, G, 2]`, meet a condition: bool `[S]`."""


@dataclass(frozen=True)
class ErrorRates:
    """How often chance lets a worse model pass a condition, or refuses a model that is as good."""

    measure: str
    examples: int
    worse: float
    """The measure of the worse model in truth: a point worse than the bound."""
    passes: float
    """The share of tests by which the worse model passes."""
    passes_from: int | None
    """The examples with which it passes 5 % of the time; None where that is reached already."""
    refused: float | None
    """The share of tests by which a model as good as the bundle's is refused; None where the
    bundle's own examples do not meet the condition."""
    refused_from: int | None

    def __str__(self) -> str:
        said = (
            f"with {self.examples:,} examples, a model whose {self.measure} is {self.worse:.4g} "
            f"passes {_percent(self.passes)} of the time{_needed(self.passes_from)}"
        )
        if self.refused is not None:
            said += (
                f"; one as good as this is refused {_percent(self.refused)} of the time"
                f"{_needed(self.refused_from)}"
            )
        return said


def find_error_rates(population: Population, meets: Meets, worse: float, tests: int) -> ErrorRates:
    """Simulates tests of a worse model, and of one that is as good as the bundle's.

    Args:
      meets: the condition.
      worse: the measure of the worse model in truth.
      tests: how many are drawn for each rate.
    """
    own = population.counts / population.counts.sum()
    other = population.shares(worse)

    def rate(shares: np.ndarray, examples: int) -> float:
        rng = np.random.default_rng(1)
        return float(meets(draw_tests(shares, examples, tests, rng), rng).mean())

    examples = len(population)
    passes = rate(other, examples)
    good = bool(meets(population.counts[None], np.random.default_rng(0))[0])
    refused = 1 - rate(own, examples) if good else None
    return ErrorRates(
        population.name, examples, worse, passes,
        _first_enough(lambda n: rate(other, n), examples) if passes > ENOUGH else None,
        refused,
        _first_enough(lambda n: 1 - rate(own, n), examples)
        if refused is not None and refused > ENOUGH
        else None,
    )  # fmt: skip


def _first_enough(rate: Callable[[int], float], examples: int) -> int:
    """Finds the number of examples from which on a rate is ENOUGH, to two digits; MOST_EXAMPLES
    where it is more.
    """
    low, high = examples, 2 * examples
    while rate(high) > ENOUGH:
        if high >= MOST_EXAMPLES:
            return MOST_EXAMPLES
        low, high = high, min(2 * high, MOST_EXAMPLES)
    while high - low > max(1, low // 10):
        middle = (low + high) // 2
        low, high = (middle, high) if rate(middle) > ENOUGH else (low, middle)
    unit = 10 ** max(len(str(high)) - 2, 0)
    return -(-high // unit) * unit


def _percent(share: float) -> str:
    if share < 0.005:
        return "less than 0.5 %"
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def _needed(examples: int | None) -> str:
    if examples is None:
        return ""
    if examples >= MOST_EXAMPLES:
        return f" (more than {MOST_EXAMPLES:,} examples would make it 5 %)"
    return f" ({examples:,} examples would make it 5 %)"
