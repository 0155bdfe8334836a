"""What a detector says of one input, for people and for programs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

LEAST = 0.3
"""Objects of lower scores are left to `--json`."""


@dataclass(frozen=True)
class DetectedObject:
    """One object: `box` is (ymin, xmin, ymax, xmax) in [0, 1]; `score` is None for the truth."""

    label: str
    score: float | None
    box: tuple[float, ...]


@dataclass(frozen=True)
class DetectedObjects:
    """What the model says of one input, the surest first. `truth` is None where it is not known."""

    input: str
    objects: tuple[DetectedObject, ...]
    truth: tuple[DetectedObject, ...] | None
    image: np.ndarray | None = field(repr=False, compare=False, default=None)

    def as_json(self) -> dict[str, Any]:
        truth = None if self.truth is None else [asdict(o) for o in self.truth]
        return {
            "input": self.input,
            "objects": [asdict(o) for o in self.objects],
            "truth": truth,
        }

    @property
    def is_right(self) -> bool | None:
        """None: many objects are neither right nor wrong as one."""
        return None

    def picture(self) -> None:
        """Returns None: objects are listed, and not drawn in a terminal."""

    def lines(self) -> list[str]:
        """The objects by class, then a line each, in pixels of what the model sees."""
        seen = [o for o in self.objects if (o.score or 0) >= LEAST]
        fainter = len(self.objects) - len(seen)
        lines = [f"{self.input}: {_counted(seen)}"]
        if self.truth is not None:
            lines[0] += f"; labelled: {_counted(self.truth)}"
        height, width = (1, 1) if self.image is None else self.image.shape[:2]
        longest = max((len(o.label) for o in seen), default=0)
        for o in seen:
            top, left, bottom, right = (
                round(v * n) for v, n in zip(o.box, (height, width) * 2, strict=True)
            )
            lines.append(
                f"  {o.label:<{longest}}  {o.score:.2f}  rows {top:>3} to {bottom:>3}  "
                f"columns {left:>3} to {right:>3}"
            )
        if fainter:
            lines.append(f"  and {fainter} of scores below {LEAST}, see --json")
        return [*lines, ""]


def detected_objects(found: Mapping[str, Any], names: Sequence[str]) -> tuple[DetectedObject, ...]:
    """Of `boxes` [N, 4], `labels` [N] and, where there are, `scores` [N] of one input."""
    scores = found["scores"] if "scores" in found else [None] * len(found["labels"])
    return tuple(
        DetectedObject(
            names[label] if label < len(names) else str(label),
            None if score is None else float(score),
            tuple(box.tolist()),
        )
        for box, label, score in zip(found["boxes"], found["labels"], scores, strict=True)
        if label >= 0
    )


def _counted(found: Sequence[DetectedObject]) -> str:
    counts = Counter(o.label for o in found).most_common()
    return ", ".join(f"{count} {label}" for label, count in counts) or "nothing"


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
