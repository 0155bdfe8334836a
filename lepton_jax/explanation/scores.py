"""The score of a class, which every method explains, and the scores of inputs with gaps."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lepton_jax.explanation.parts import InputParts

# N inputs, M masks, P parts, K classes.

Answering = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Answers raw inputs `[N, ...]` with probabilities `[N, K]`."""


def score_class(probabilities: Any, target: Any, xp: Any = np) -> Any:
    """Returns how far the logit of a class lies above the mean of all logits, `[N]`.

    It is computed from `probabilities` [N, K], which fix the logits but for that mean: so a run and
    its bundle, and a gradient and a perturbation, speak of the same number. `target` int [N].
    `xp`: the module that computes, NumPy or jax.numpy.
    """
    floor = xp.finfo(probabilities.dtype).tiny
    logs_NK = xp.log(xp.maximum(probabilities, floor))
    at_N1 = xp.take_along_axis(logs_NK, target[:, None], axis=-1)
    return at_N1[:, 0] - logs_NK.mean(-1)


class Gaps:
    """One input with gaps: what a model says of it when some of its parts are taken away."""

    def __init__(
        self,
        answer: Answering,
        parts: InputParts,
        fields: Mapping[str, np.ndarray],
        present: np.ndarray,
        target: int,
    ):
        """Takes one input without its batch axis; `present` bool [P] are the parts it has."""
        self._answer, self._parts, self._fields = answer, parts, fields
        self.places = np.flatnonzero(present)
        """The numbers of the parts that the input has, p of the P."""
        self._target = target

    def probabilities(self, kept: np.ndarray) -> np.ndarray:
        """Returns the probability [M] of the class where only parts `kept` bool [M, p] are left."""
        return self._all(kept)[:, self._target]

    def scores(self, kept: np.ndarray) -> np.ndarray:
        """Returns the score [M] of the class where only the parts `kept` bool [M, p] are left."""
        p_MK = self._all(kept).astype(np.float64)
        return score_class(
            np.maximum(p_MK, np.finfo(np.float32).tiny), np.full(len(p_MK), self._target)
        )

    def _all(self, kept: np.ndarray) -> np.ndarray:
        whole = np.ones((len(kept), self._parts.count), bool)
        whole[:, self.places] = kept
        return self._answer(self._parts.take_away(self._fields, whole))
