"""Whether explanations can be believed: what a model really does where they say it matters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lepton_jax.explanation.gradients import INCOMPLETE, integrate_gradients
from lepton_jax.explanation.methods import METHODS, Questions, Subject
from lepton_jax.explanation.scores import Gaps

# N inputs, P parts, p parts that an input has, S steps of a curve, M masks.

CHECKED = 16
"""Inputs that are measured: the first ones."""
STEPS = 16
"""Steps in which the parts of an input are taken away."""
RANDOM = 19
"""Random orders of each input: to beat all of them by chance has the probability 1 / 20."""
MASKS = 128
"""Random gaps that measure infidelity."""
SHIFT = 0.02
"""The greatest change that measures sensitivity, in shares of the range of an input's numbers."""
SHIFTS = 3
"""How often an input is changed so."""
MOST_ALIKE = 0.5
"""The rank correlation up to which an explanation depends on what a model has learned: with more
it shares a quarter of the variance of its ranks with that of weights in a random order."""
MOST_SENSITIVE = 1.0
"""The relative change from which an explanation is less stable than it is large."""


@dataclass(frozen=True)
class Faithfulness:
    """What was measured of one method, as means over the inputs."""

    deletion: list[float]
    """The probability of the class as parts are taken away, the most important first: [S + 1]."""
    insertion: list[float]
    """The same as parts are put into a blank input: [S + 1]."""
    beaten: int
    """How many of `RANDOM` orders have a smaller area between insertion and deletion."""
    alike: float | None
    """The rank correlation with the explanation of shuffled weights; None of a bundle."""
    infidelity: float | None
    """How far its claims about random gaps are off, 0 to 1; None where it makes none."""
    equal_credit: float
    """The infidelity of the claim that all parts matter the same."""
    sensitivity: float | None
    """The greatest relative change under small changes of the input; None of texts."""
    missing: float | None
    """The largest share of the change of the score that integrated gradients do not add up to."""

    @property
    def deletion_area(self) -> float:
        """The mean of the curve: small where the important parts go first."""
        return area(self.deletion)

    @property
    def insertion_area(self) -> float:
        """The mean of the curve: large where the important parts come first."""
        return area(self.insertion)

    @property
    def faults(self) -> list[str]:
        """What is wrong with the method on this model; empty where it may be believed."""
        said = []
        if self.beaten < RANDOM:
            others = f"{RANDOM - self.beaten} of {RANDOM} random orders"
            said.append(f"its order of parts is no better than {others}")
        if self.alike is not None and self.alike > MOST_ALIKE:
            said.append(
                f"it explains shuffled weights much the same (rank correlation {self.alike:.2f})"
            )
        if self.infidelity is not None and self.infidelity >= self.equal_credit:
            said.append("its amounts are no better than equal credit for every part")
        if self.sensitivity is not None and self.sensitivity > MOST_SENSITIVE:
            said.append("it changes by more than its own size under small changes of the input")
        if self.missing is not None and self.missing > INCOMPLETE:
            said.append(f"{self.missing:.1%} of the change of the score is missing")
        return said


@dataclass(frozen=True)
class Checks:
    """What was measured of all methods."""

    methods: dict[str, Faithfulness]
    agreement: dict[tuple[str, str], float]
    """The mean rank correlation of each two."""
    random_deletion: list[float]
    """The curves of random orders, as means over them."""
    random_insertion: list[float]
    inputs: int
    """How many were measured."""

    def agreement_of(self, name: str) -> float | None:
        """Returns the mean rank correlation of a method with the others; None where it is alone."""
        found = [x for pair, x in self.agreement.items() if name in pair]
        return _mean(found) if found else None


def check_methods(subject: Subject, asked: Questions, maps: Mapping[str, np.ndarray]) -> Checks:
    """Measures the explanations of the first inputs.

    `maps` [N, *shape]: what each method said.
    """
    asked = asked.take(CHECKED)
    count = len(asked.target)
    parts = subject.parts
    values = {name: parts.sum_parts(found[:count]) for name, found in maps.items()}
    all_gaps = asked.gaps(subject)
    random = [_random_curves(gaps) for gaps in all_gaps]
    chance = [_random_gaps(gaps) for gaps in all_gaps]
    random_curves = np.mean(random, axis=0)
    shuffled = subject.shuffled() if subject.model else None
    found = {}
    for name, method in METHODS.items():
        if name not in maps:
            continue
        own = [row[gaps.places] for row, gaps in zip(values[name], all_gaps, strict=True)]
        curves = np.mean(
            [trace_curves(g, rank_parts(v)) for g, v in zip(all_gaps, own, strict=True)], axis=0
        )
        claims = [(kept, drops, v) for (kept, drops), v in zip(chance, own, strict=True)]
        found[name] = Faithfulness(
            deletion=curves[0].tolist(),
            insertion=curves[1].tolist(),
            beaten=int((gap_area(curves) > gap_area(random_curves)).sum()),
            alike=_likeness(shuffled, asked, name, values[name]),
            infidelity=_mean(infidelity(*c) for c in claims) if method.of_blank else None,
            equal_credit=_mean(infidelity(k, d, np.ones_like(v)) for k, d, v in claims),
            sensitivity=_sensitivity(subject, asked, name, maps[name][:count]),
            missing=_missing(subject, asked) if name == "integrated_gradients" else None,
        )
    return Checks(
        methods=found,
        agreement=_agreement(values, asked.present),
        random_deletion=random_curves[:, 0].mean(0).tolist(),
        random_insertion=random_curves[:, 1].mean(0).tolist(),
        inputs=count,
    )


def rank_parts(values: np.ndarray) -> np.ndarray:
    """Returns the order of parts [p], the one that speaks most for the class first."""
    return np.argsort(-values, kind="stable")


def trace_curves(gaps: Gaps, order: np.ndarray) -> np.ndarray:
    """Returns the probabilities [2, S + 1] as parts are taken away in an order [p], and as they are
    put into a blank input (Petsiuk et al. 2018).
    """
    return _trace(gaps, order[None])[0]


def infidelity(kept: np.ndarray, drops: np.ndarray, values: np.ndarray) -> float:
    """Returns the mean squared error of what values [p] claim of gaps, over that of claiming
    nothing (Yeh et al. 2019, definition 2.1, with the best scale of the values): 0 to 1.

    `kept` bool [M, p]; `drops` [M]: how much the score falls.
    """
    claimed = ~kept @ values
    size = float(claimed @ claimed)
    scaled = claimed * (float(claimed @ drops) / size if size else 0.0)
    total = float((drops**2).mean())
    return float(((scaled - drops) ** 2).mean()) / total if total else 0.0


def correlate_ranks(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Spearman's rank correlation; 0 where all numbers of one are the same."""
    from scipy.stats import rankdata

    ranks = [rankdata(x) for x in (a, b)]
    if any(np.ptp(r) == 0 for r in ranks) or len(a) < 2:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def area(curve: list[float] | np.ndarray) -> float:
    """Returns the area under a curve `[..., S + 1]` over the share of the parts, by trapezoids."""
    return float(np.trapezoid(np.asarray(curve), dx=1 / STEPS))


def gap_area(curves: np.ndarray) -> np.ndarray:
    """Returns the area between insertion and deletion of curves `[..., 2, S + 1]`."""
    return np.trapezoid(curves[..., 1, :] - curves[..., 0, :], dx=1 / STEPS, axis=-1)


def _trace(gaps: Gaps, orders: np.ndarray) -> np.ndarray:
    """Traces several orders [R, p] at once: [R, 2, S + 1]."""
    count = orders.shape[1]
    ranks = np.argsort(orders, axis=1)
    taken = np.rint(np.arange(STEPS + 1) / STEPS * count)
    inserted = ranks[:, None, :] < taken[:, None]
    kept = np.stack([~inserted, inserted], axis=1)
    return gaps.probabilities(kept.reshape(-1, count)).reshape(kept.shape[:3])


def _random_curves(gaps: Gaps) -> np.ndarray:
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(gaps.places)) for _ in range(RANDOM)]
    return _trace(gaps, np.stack(orders))


def _random_gaps(gaps: Gaps) -> tuple[np.ndarray, np.ndarray]:
    """Returns random gaps bool [M, p], up to half of an input, and how much the score falls."""
    rng = np.random.default_rng(0)
    count = len(gaps.places)
    kept = rng.random((MASKS, count)) >= rng.random((MASKS, 1)) / 2
    scores = gaps.scores(np.concatenate([np.ones((1, count), bool), kept]))
    return kept, scores[0] - scores[1:]


def _likeness(
    shuffled: Subject | None, asked: Questions, name: str, values: np.ndarray
) -> float | None:
    """Compares with the explanations of shuffled weights (Adebayo et al. 2018)."""
    if shuffled is None:
        return None
    other = shuffled.parts.sum_parts(METHODS[name].explain(shuffled, asked))
    return _mean(
        abs(correlate_ranks(np.abs(a[here]), np.abs(b[here])))
        for a, b, here in zip(values, other, asked.present, strict=True)
    )


def _sensitivity(subject: Subject, asked: Questions, name: str, maps: np.ndarray) -> float | None:
    """Measures the greatest relative change (Yeh et al. 2019, definition 2.2)."""
    field = subject.parts.field
    if subject.parts.of_text:
        return None
    x = asked.fields[field]
    rng = np.random.default_rng(0)
    flat = maps.reshape(len(maps), -1)
    size = np.maximum(np.linalg.norm(flat, axis=-1), np.finfo(np.float64).tiny)
    most = np.zeros(len(maps))
    for _ in range(SHIFTS):
        moved = x + rng.uniform(-SHIFT, SHIFT, x.shape) * np.ptp(x)
        if np.issubdtype(x.dtype, np.integer):
            limits = np.iinfo(x.dtype)
            moved = np.clip(np.rint(moved), limits.min, limits.max)
        nearby = Questions(
            {**asked.fields, field: moved.astype(x.dtype)}, asked.present, asked.target
        )
        other = METHODS[name].explain(subject, nearby).reshape(len(maps), -1)
        most = np.maximum(most, np.linalg.norm(other - flat, axis=-1) / size)
    return float(most.mean())


def _missing(subject: Subject, asked: Questions) -> float:
    assert subject.model is not None
    blank = subject.parts.blank(asked.fields, asked.present)
    found = integrate_gradients(subject.model, asked.fields, blank, asked.target, subject.parts)
    return float(found.missing.max())


def _agreement(
    values: Mapping[str, np.ndarray], present: np.ndarray
) -> dict[tuple[str, str], float]:
    """Correlates the ranks of each two methods; of sizes where one of them has no sign."""
    names = list(values)
    found = {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            both = METHODS[a].signed and METHODS[b].signed
            pairs = [
                (x, y) if both else (np.abs(x), np.abs(y))
                for x, y in zip(values[a], values[b], strict=True)
            ]
            found[a, b] = _mean(
                correlate_ranks(x[here], y[here])
                for (x, y), here in zip(pairs, present, strict=True)
            )
    return found


def _mean(numbers: Iterable[float]) -> float:
    return float(np.mean(list(numbers)))
