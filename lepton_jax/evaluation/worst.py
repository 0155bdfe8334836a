"""The examples of a split that surprised a model most, kept while it is evaluated."""

from collections.abc import Mapping
from typing import Any

import numpy as np

KEPT = 25

# L lanes, which may be absent; B batch; N kept.


class WorstExamples:
    """The `KEPT` examples of highest loss, the highest first; of equals the earlier.

    `arrays`: `loss`, `example`, its place in the split, and what else is given, [L, N] each.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._seen = 0

    def add(self, examples: Mapping[str, np.ndarray]) -> None:
        """Adds the next batch of the split: `loss` [L, B], -inf for padding, and so on."""
        if not examples:
            return
        loss = np.asarray(examples["loss"])
        place = np.broadcast_to(self._seen + np.arange(loss.shape[-1]), loss.shape)
        self._seen += loss.shape[-1]
        new = {**{k: np.asarray(v, np.float64) for k, v in examples.items()}, "example": place}
        old = self.arrays or {k: v[..., :0] for k, v in new.items()}
        both = {k: np.concatenate([old[k], new[k]], axis=-1) for k in new}
        # What is no number is worse than any.
        order = np.argsort(-np.nan_to_num(both["loss"], nan=np.inf), axis=-1, kind="stable")
        self.arrays = {
            k: np.take_along_axis(v, order[..., :KEPT], axis=-1) for k, v in both.items()
        }


def list_worst(arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """`[{'example': 7, 'loss': 9.1, 'answer': 3, 'confidence': 0.99}, ...]`, without padding."""
    kinds = {"example": int, "loss": float, "answer": int, "confidence": float}
    names = [name for name in kinds if name in arrays]
    rows = zip(*(arrays[name] for name in names), strict=True)
    found = [{n: kinds[n](x) for n, x in zip(names, row, strict=True)} for row in rows]
    return [one for one in found if one["loss"] != -np.inf]
