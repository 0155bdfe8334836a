"""The examples of a split that surprised a model most, kept while it is evaluated."""

from collections.abc import Mapping
from typing import Any

import numpy as np

KEPT = 25

# L lanes, which may be absent; B batch; N kept.


class Worst:
    """The `KEPT` examples of highest loss, the highest first; of equals the earlier.

    `arrays`: `loss`, `answer`, `confidence` and `example`, its place in the split, [L, N] each.
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


def as_list(arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """`[{'example': 7, 'loss': 9.1, 'answer': 3, 'confidence': 0.99}, ...]`, without padding."""
    rows = zip(*(arrays[k] for k in ("example", "loss", "answer", "confidence")), strict=True)
    return [
        {"example": int(i), "loss": float(x), "answer": int(a), "confidence": float(c)}
        for i, x, a, c in rows
        if x > -np.inf or np.isnan(x)
    ]
