"""The examples of `test` as groups of right and wrong answers, and what is measured on them.

Gates ask what would have come out on another `test` of the same kind. Such a `test` is drawn from
the examples that there are, each as often as chance wants (a bootstrap). Only the numbers of right
and wrong answers in each group matter, and these are drawn at once, from a multinomial.

The interval of a share is Wilson's. That of another measure is by the bootstrap. Two made-up
examples are added before: one that makes the measure better and one that makes it worse.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lepton_jax.serving.observed.interval import wilson_ends

# S simulated tests, D draws, G groups, M measures; the last axis is wrong answers and right ones.

LEVEL = 0.95
"""The level of every interval."""

DRAWS = 2000
"""Draws from which an interval is taken."""


@dataclass(frozen=True)
class Population:
    """Answers to the examples of `test`, counted in groups, and a measure of them."""

    name: str
    """What is measured, `test/accuracy`."""
    counts: np.ndarray
    """Numbers of wrong and right answers in each group, int `[G, 2]`."""
    measures: Callable[[np.ndarray], np.ndarray]
    """Computes measures of counts, `[..., G, 2]` to `[..., M]`: the lowest of them counts."""
    touched: np.ndarray
    """The groups in which a worse model has fewer right answers, bool `[G]`. A better one has more
    in all of them."""
    made_up: np.ndarray | None = None
    """The examples that are added before an interval is drawn, `[G, 2]`; None of shares."""
    judged: np.ndarray | None = None
    """Of shares, the groups that are measures, bool `[G]`; None: all of them."""

    def __len__(self) -> int:
        return int(self.counts.sum())

    def measure(self, counts: np.ndarray) -> np.ndarray:
        """Computes the measure of counts, `[..., G, 2]` to `[...]`."""
        return self.measures(counts).min(-1)

    def value(self) -> float:
        """Returns the measure of the examples."""
        return float(self.measure(self.counts))

    def interval(self) -> tuple[float, float]:
        """Computes the interval of the measure; the same at every call."""
        low, high = self.intervals(self.counts, DRAWS, np.random.default_rng(0))
        return float(low), float(high)

    def intervals(
        self, counts: np.ndarray, draws: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Computes the lower and upper ends of the intervals of several tests, `[..., G, 2]`.

        Of several measures, each has an interval, and the lowest ends count. Nothing is drawn where
        the measures are shares.
        """
        if self.made_up is None:
            parts = counts if self.judged is None else counts[..., self.judged, :]
            low, high = wilson_ends(parts[..., 1], parts.sum(-1))
            return low.min(-1), high.min(-1)
        filled = counts + self.made_up
        total = filled.sum((-2, -1), keepdims=True)
        drawn = draw_tests(filled / total, int(total.flat[0]), draws, rng)
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(self.measures(drawn), [tail, 1 - tail], axis=0)
        return low.min(-1), high.min(-1)

    def shares(self, wanted: float) -> np.ndarray:
        """Returns the shares `[G, 2]` of a model of which the measure is `wanted` in truth.

        It is the bundle's model with a part of the right answers made wrong, or a part of the wrong
        ones right.
        """
        shares = self.counts / self.counts.sum()
        low, high = -1.0, 1.0  # of the right answers that become wrong; below 0, of the wrong ones
        rises = self.measure(self._moved(shares, low)) > self.measure(self._moved(shares, high))
        for _ in range(60):
            middle = (low + high) / 2
            if (self.measure(self._moved(shares, middle)) > wanted) == rises:
                low = middle
            else:
                high = middle
        return self._moved(shares, (low + high) / 2)

    def _moved(self, shares: np.ndarray, part: float) -> np.ndarray:
        wrong, right = shares[:, 0], shares[:, 1]
        moved = np.where(self.touched, right, 0) * part if part > 0 else wrong * part
        return np.stack([wrong + moved, right - moved], axis=-1)


def draw_tests(
    shares: np.ndarray, examples: int, tests: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws tests of so many examples from shares `[..., G, 2]`, as counts `[S, ..., G, 2]`."""
    flat = shares.reshape(*shares.shape[:-2], -1)
    # What rounding leaves below 0 or above a sum of 1 is refused by NumPy.
    flat = np.clip(flat, 0, None)
    flat = flat / flat.sum(-1, keepdims=True)
    drawn = rng.multinomial(examples, flat, size=(tests, *flat.shape[:-1]))
    return drawn.reshape(tests, *shares.shape)
