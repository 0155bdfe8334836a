"""What is likely to have happened: which known change moves the statistics in the same way."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .reference import Reference, Response, count_inputs

# N window's examples, M reference examples, I statistics of inputs, K classes.

CLASS_PRIOR = "class prior"

_ENOUGH = 0.5
"""The share of the movement that a cause must explain to be named."""


@dataclass(frozen=True)
class Cause:
    """A change of the inputs that explains what moved."""

    name: str
    """The transform, or 'class prior': some classes are asked for more often than before."""
    strength: float
    """The factor of a blend, the width of a blur in pixels, the standard deviation of noise; of a
    class prior the share of examples that would have to be of another class."""
    explained: float
    """The share of the squared movement that it explains, at most 1."""
    transform: str = ""
    """The augmentation of lepton_jax that covers it; '' where there is none."""
    arguments: Mapping[str, float] = field(default_factory=dict)
    """Of that augmentation."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"arguments": dict(self.arguments)}

    def __str__(self) -> str:
        return f"{self.name} {self.strength:.3g} (explains {self.explained:.0%} of the movement)"


def rank_causes(
    reference: Reference, values_NS: np.ndarray, label_N: np.ndarray | None
) -> list[Cause]:
    """Returns the causes that explain enough of how the inputs moved, the best first."""
    inputs = count_inputs(reference.names)
    moved = _movement(reference, values_NS, inputs)
    # What sampling alone moves is no movement to be explained.
    noise = 2 * inputs * (1 / len(values_NS) + 1 / len(reference))
    total = float((moved**2).sum())
    if not inputs or total <= noise:
        return []
    causes = [
        cause
        for name in dict.fromkeys(r.transform for r in reference.responses)
        if (cause := _fit_transform(name, reference, moved))
    ]
    if reference.label is not None and label_N is not None:
        causes.append(_fit_prior(reference, label_N, moved, inputs))
    enough = [c for c in causes if c.explained >= _ENOUGH]
    return sorted(enough, key=lambda c: -c.explained)


def _movement(reference: Reference, values_NS: np.ndarray, inputs: int) -> np.ndarray:
    """Returns how means and spreads of the inputs' statistics moved, [2 I]."""
    scale = reference.scale[:inputs]
    window_NI = values_NS[:, :inputs].astype(np.float64)
    shift = (window_NI.mean(0) - reference.centre[:inputs]) / scale
    spread = np.log(np.maximum(window_NI.std(0), 1e-3 * scale) / scale)
    return _damp(shift, spread)


def _damp(shift: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Joins both; a statistic that moved by a hundred deviations must not drown the others."""
    return np.concatenate([np.sign(shift) * np.log1p(np.abs(shift)), np.clip(spread, -2, 2)])


def _fit_transform(name: str, reference: Reference, moved: np.ndarray) -> Cause | None:
    """Finds the strength of a transform that explains the most, between those that were tried.

    Strengths lie on branches from what changes nothing, a factor of 1 or a width of 0.
    """
    tried = [r for r in reference.responses if r.transform == name]
    blend = name in BLENDS
    neutral = 1.0 if blend else 0.0
    best: tuple[float, float, Response] | None = None
    for branch in (
        sorted((r for r in tried if r.amount < neutral), key=lambda r: -r.amount),
        sorted((r for r in tried if r.amount > neutral), key=lambda r: r.amount),
    ):
        before, amount = np.zeros_like(moved), neutral
        for response in branch:
            after = _damp(response.shift, response.spread)
            for t in np.linspace(0.1, 1, 10):
                there = before + t * (after - before)
                explained = 1 - float(((moved - there) ** 2).sum() / (moved**2).sum())
                if best is None or explained > best[0]:
                    best = explained, amount + t * (response.amount - amount), response
            before, amount = after, response.amount
    if best is None:
        return None
    explained, amount, nearest = best
    # An augmentation that reaches the amount, and a little further.
    arguments = {nearest.argument: math.ceil(125 * abs(amount - neutral)) / 100}
    return Cause(name, float(amount), explained, name, arguments)


BLENDS = ("brightness", "contrast", "saturation")
"""Transforms whose amount is a factor."""


def _fit_prior(reference: Reference, label_N: np.ndarray, moved: np.ndarray, inputs: int) -> Cause:
    """Weighs the reference's examples so that its classes are as frequent as the window's."""
    assert reference.label is not None
    classes = max(reference.classes, int(label_N.max(initial=0)) + 1)
    before_K = np.bincount(reference.label, minlength=classes) / len(reference)
    after_K = np.bincount(np.maximum(label_N, 0), minlength=classes) / len(label_N)
    ratio_K = np.divide(after_K, before_K, out=np.zeros(classes), where=before_K > 0)
    weight_M = ratio_K[reference.label]
    weight_M = weight_M / max(weight_M.sum(), 1e-9)
    values_MI = reference.values[:, :inputs].astype(np.float64)
    centre, scale = weight_M @ values_MI, reference.scale[:inputs]
    spread = np.sqrt(np.maximum(weight_M @ (values_MI - centre) ** 2, 0))
    there = _damp(
        (centre - reference.centre[:inputs]) / scale,
        np.log(np.maximum(spread, 1e-3 * scale) / scale),
    )
    explained = 1 - float(((moved - there) ** 2).sum() / (moved**2).sum())
    other = float(np.abs(after_K - before_K).sum() / 2)
    return Cause(CLASS_PRIOR, other, explained)
