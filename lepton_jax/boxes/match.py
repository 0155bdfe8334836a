"""Answers about the objects of an image are a set: their order says only whose score is greater."""

from collections.abc import Mapping

import numpy as np

# B batch, D answers.


def in_order_of(
    got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """`got`, each of its objects [B, D] in the place of the nearest of its label in `expected`.

    Two scores that are equal but for rounding come in either order. What is not about objects
    stays as it is.
    """
    order_BD = np.stack(
        [
            _partners(*({k: v[b] for k, v in x.items()} for x in (got, expected)))
            for b in range(len(got["labels"]))
        ]
    )
    rows = np.arange(len(order_BD))[:, None]
    return {k: v[rows, order_BD] if v.shape[:2] == order_BD.shape else v for k, v in got.items()}


def _partners(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which object of `got` belongs in each place: a permutation [D]."""
    free = list(range(len(got["labels"])))
    order = []
    for d, label in enumerate(expected["labels"]):
        distance = [
            np.inf
            if got["labels"][i] != label
            else abs(got["scores"][i] - expected["scores"][d])
            + np.abs(got["boxes"][i] - expected["boxes"][d]).max()
            for i in free
        ]
        order.append(free.pop(int(np.argmin(distance))))
    return np.array(order)
