"""Answers that are the objects of an image: boxes with labels and scores."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lepton_jax.answers.compare import compare_arrays
from lepton_jax.answers.kind import AnswerComparison, Arrays, Reader, Shown
from lepton_jax.answers.prediction import first_image

# B batch, E examples, D answers an image.

LEAST = 0.3
"""Objects of lower scores are left to `--json`."""


class ObjectsKind:
    """Objects: `boxes` float32 [B, D, 4], `labels` int32 [B, D] and `scores` float32 [B, D].

    A label of -1 is no object. The objects of an image are a set: their order says only whose score
    is greater.
    """

    outputs = ("boxes", "labels", "scores")
    metric = "map_50"
    truth_fields = ("boxes", "labels")

    def compare(self, got: Arrays, expected: Arrays, tolerance: float) -> AnswerComparison:
        """Compares objects in whatever order they come: boxes and scores within the tolerance."""
        if got.keys() == expected.keys() and all(got[k].shape == expected[k].shape for k in got):
            got = reorder_objects(got, expected)
        return compare_arrays(got, expected, tolerance)

    def describe(
        self, name: str, inputs: Arrays, outputs: Arrays, truth: Arrays, reader: Reader
    ) -> Shown:
        """Shows how many objects of each class there are, then each object in a line."""
        return DetectedObjects(
            name,
            list_objects(outputs, reader.labels),
            list_objects(truth, reader.labels) if "boxes" in truth else None,
            first_image(inputs),
        )

    def measure(self, answers: Arrays, truth: Arrays, classes: Sequence[str]) -> float:
        """Returns the mean average precision at an overlap of 0.5."""
        from lepton_jax.metrics.detection import AveragePrecision

        true = {f"true_{name}": values for name, values in truth.items()}
        return AveragePrecision(classes).results({**answers, **true})[self.metric]

    def allowed(self, examples: int) -> float:
        """Allows a thousandth: equal scores may be ranked otherwise elsewhere."""
        return 1e-3


@dataclass(frozen=True)
class DetectedObject:
    """One object: `box` is (ymin, xmin, ymax, xmax) in [0, 1]; `score` is None for the truth."""

    label: str
    score: float | None
    box: tuple[float, ...]


@dataclass(frozen=True)
class DetectedObjects:
    """What the model says of one input, the greatest score first. `truth` is None where it is not
    known.
    """

    input: str
    objects: tuple[DetectedObject, ...]
    truth: tuple[DetectedObject, ...] | None
    image: np.ndarray | None = field(repr=False, compare=False, default=None)

    def as_json(self) -> dict[str, Any]:
        """Returns every object, of whatever score."""
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
        """Counts the objects by class, then writes a line each, in pixels of the model's input."""
        shown = [o for o in self.objects if (o.score or 0) >= LEAST]
        fainter = len(self.objects) - len(shown)
        lines = [f"{self.input}: {_count(shown)}"]
        if self.truth is not None:
            lines[0] += f"; labelled: {_count(self.truth)}"
        height, width = (1, 1) if self.image is None else self.image.shape[:2]
        longest = max((len(o.label) for o in shown), default=0)
        for o in shown:
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


def list_objects(arrays: Mapping[str, Any], names: Sequence[str]) -> tuple[DetectedObject, ...]:
    """Lists the objects of one image by `boxes` [N, 4], `labels` [N] and perhaps `scores` [N]."""
    scores = arrays["scores"] if "scores" in arrays else [None] * len(arrays["labels"])
    return tuple(
        DetectedObject(
            names[label] if label < len(names) else str(label),
            None if score is None else float(score),
            tuple(box.tolist()),
        )
        for box, label, score in zip(arrays["boxes"], arrays["labels"], scores, strict=True)
        if label >= 0
    )


def reorder_objects(got: Arrays, expected: Arrays) -> Arrays:
    """Returns `got` with each object [B, D] in the place of the nearest of its label in `expected`.

    Two scores that are equal but for rounding come in either order. Outputs that are not one an
    object stay as they are.
    """
    order_BD = np.stack(
        [
            _match_one(*({k: v[b] for k, v in x.items()} for x in (got, expected)))
            for b in range(len(got["labels"]))
        ]
    )
    rows = np.arange(len(order_BD))[:, None]
    return {k: v[rows, order_BD] if v.shape[:2] == order_BD.shape else v for k, v in got.items()}


def _match_one(got: Arrays, expected: Arrays) -> np.ndarray:
    """Says for one image which object of `got` belongs in each place: a permutation [D]."""
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


def _count(objects: Sequence[DetectedObject]) -> str:
    counts = Counter(o.label for o in objects).most_common()
    return ", ".join(f"{count} {label}" for label, count in counts) or "nothing"
