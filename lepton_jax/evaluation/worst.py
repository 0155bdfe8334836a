"""The examples of a split that a model is most wrong about, kept while it is evaluated."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

KEPT = 25

# L lanes, which may be absent; B batch; N kept.


class WorstExamples:
    """The `KEPT` examples of highest loss, the highest first; of equal losses the earlier first.

    `arrays`, [L, N] each: `loss`, `example`, which is the position in the split, and whatever else
    `add` is given.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._seen = 0

    def add(self, examples: Mapping[str, np.ndarray]) -> None:
        """Adds the next batch of the split: `loss` [L, B], -inf for padding, and so on."""
        if not examples:
            return
        loss = np.asarray(examples["loss"])
        position = np.broadcast_to(self._seen + np.arange(loss.shape[-1]), loss.shape)
        self._seen += loss.shape[-1]
        new = {**{k: np.asarray(v, np.float64) for k, v in examples.items()}, "example": position}
        old = self.arrays or {k: v[..., :0] for k, v in new.items()}
        both = {k: np.concatenate([old[k], new[k]], axis=-1) for k in new}
        # NaN is worse than any number.
        order = np.argsort(-np.nan_to_num(both["loss"], nan=np.inf), axis=-1, kind="stable")
        self.arrays = {
            k: np.take_along_axis(v, order[..., :KEPT], axis=-1) for k, v in both.items()
        }


def name_files(
    results: Mapping[str, Any], place: Callable[[int], str], root: str
) -> dict[str, Any]:
    """Returns results whose worst examples say from which `file` they come, where that is known.

    Args:
      place: gives the file of an example of the split by its number, and its line there; or ''.
      root: the folder from which the files are named.
    """
    below = f"{root.rstrip('/')}/"
    worst = [
        {**e, "file": file.removeprefix(below)} if (file := place(e["example"])) else e
        for e in results.get("worst", ())
    ]
    return {**results, "worst": worst} if worst else dict(results)


def list_worst(arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Lists examples `[{'example': 7, 'loss': 9.1, 'answer': 3, 'confidence': 0.99}, ...]`, without
    those of padding.

    `arrays` [N] each, as in `WorstExamples`.
    """
    first = [name for name in ("example", "loss", "answer", "confidence") if name in arrays]
    names = first + [name for name in arrays if name not in first]
    kinds = {"example": int, "answer": int}
    rows = zip(*(arrays[name] for name in names), strict=True)
    examples = [
        {n: kinds.get(n, float)(x) for n, x in zip(names, row, strict=True)} for row in rows
    ]
    return [example for example in examples if example["loss"] != -np.inf]
