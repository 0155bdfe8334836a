"""What a detector says of one input, for people and for programs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

LEAST = 0.3
"""Objects of lower scores are left to `--json`."""


@dataclass(frozen=True)
class Object:
    """One object: `box` is (ymin, xmin, ymax, xmax) in [0, 1]; `score` is None for the truth."""

    label: str
    score: float | None
    box: tuple[float, ...]


@dataclass(frozen=True)
class Objects:
    """What the model says of one input, the surest first. `truth` is None where it is not known."""

    input: str
    objects: tuple[Object, ...]
    truth: tuple[Object, ...] | None
    image: np.ndarray | None = field(repr=False, compare=False, default=None)

    def as_json(self) -> dict[str, Any]:
        truth = None if self.truth is None else [asdict(o) for o in self.truth]
        return {
            "input": self.input,
            "objects": [asdict(o) for o in self.objects],
            "truth": truth,
        }

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


def objects(found: Mapping[str, Any], names: Sequence[str]) -> tuple[Object, ...]:
    """Of `boxes` [N, 4], `labels` [N] and, where there are, `scores` [N] of one input."""
    scores = found["scores"] if "scores" in found else [None] * len(found["labels"])
    return tuple(
        Object(
            names[label] if label < len(names) else str(label),
            None if score is None else float(score),
            tuple(box.tolist()),
        )
        for box, label, score in zip(found["boxes"], found["labels"], scores, strict=True)
        if label >= 0
    )


def _counted(found: Sequence[Object]) -> str:
    counts = Counter(o.label for o in found).most_common()
    return ", ".join(f"{count} {label}" for label, count in counts) or "nothing"
