"""What was true: labels that are told after an answer, and how often the answers were right."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..batches.sizes import Arrays
from ..errors import InputError
from .interval import wilson_interval
from .requests import KeptRequest, utc_now

if TYPE_CHECKING:
    from ..live.served import ServedModel

MOST_ROWS = 100_000
"""Rows of answers that are remembered: some 45 MB, where each is of a request of its own."""

OF_TEXTS = ("bad", "good")
"""What is told of a text that was written, in the place of a class: good ones count as right."""

Labels = tuple[str | None, ...]
"""The true class of each row by its name; None where it is not known."""


@dataclass(frozen=True, slots=True)
class RememberedAnswer:
    """The classes that were answered to a request, and what was told to be true."""

    model: str
    version: str
    classes: tuple[str, ...]
    """The names of all classes."""
    said: np.ndarray
    """The class of each row, int [B]."""
    labels: Labels = ()

    def right(self) -> list[bool | None]:
        """Tells of each row whether its answer is right; None where the truth is not known."""
        pairs = zip(self.said, self.labels, strict=True) if self.labels else ()
        return [None if label is None else self.classes[i] == label for i, label in pairs]


@dataclass(frozen=True)
class LiveAccuracy:
    """How often a version was right, by the labels that were told."""

    model: str
    version: str
    rows: int
    right: int

    def as_json(self) -> dict[str, Any]:
        """Returns the counts, `accuracy`, and its 95 % interval; both None of no rows."""
        interval = wilson_interval(self.right, self.rows)
        return {
            "model": self.model,
            "version": self.version,
            "rows": self.rows,
            "right": self.right,
            "accuracy": self.right / self.rows if self.rows else None,
            "interval": list(interval) if interval else None,
        }


class Feedback:
    """Remembers the latest answers by the ids of their requests, and counts the right ones.

    The first answer of an id counts. Args:
      registry: of Prometheus, to which the numbers are added.
    """

    def __init__(self, registry: Any):
        from prometheus_client import Gauge

        self.since = utc_now()
        self._answers: OrderedDict[str, RememberedAnswer] = OrderedDict()
        self._classes: dict[str, tuple[str, ...]] = {}
        """Of each bundle, by its id: one object for all answers."""
        self._rows = 0
        self._counts: dict[tuple[str, str], LiveAccuracy] = {}
        self._told = Gauge(
            "lepton_feedback_rows", "Rows whose truth was told, by whether they were right",
            ["model", "version", "right"], registry=registry,
        )  # fmt: skip
        self._accuracy = Gauge(
            "lepton_live_accuracy", "Accuracy by feedback, and the ends of its 95 % interval",
            ["model", "version", "end"], registry=registry,
        )  # fmt: skip

    def observe(
        self,
        served: "ServedModel",
        request_id: str,
        inputs: Arrays,
        outputs: Arrays,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Remembers which classes a request was answered by, or how many texts."""
        if request_id in self._answers:
            return
        classes = self._classes.setdefault(served.bundle.id, tuple(served.bundle.labels))
        if parameters is not None:
            said, classes = np.ones(len(outputs["length"]), np.int32), OF_TEXTS
        elif served.bundle.answer == "class":
            said = np.array(outputs["label"], np.int32)
        else:
            return
        if said.ndim == 1:
            answer = RememberedAnswer(served.name, served.version, classes, said)
            self._remember(request_id, answer)

    def recall(self, request: KeptRequest, classes: Sequence[str]) -> RememberedAnswer:
        """Remembers a kept request again. Raises `InputError` where its answer is no class."""
        answer = _read_answer(request, classes)
        if request.labelled >= self.since:  # else they are not among the counts
            answer = replace(answer, labels=request.labels)
        if request.id not in self._answers:
            self._remember(request.id, answer)
        return self._answers[request.id]

    def restore(self, labelled: Iterable[tuple[KeptRequest, Sequence[str]]]) -> None:
        """Counts labels that were told before this process began, the latest ones last. Called
        before the first request is answered.
        """
        for request, classes in labelled:
            if not request.labels:  # they were deleted meanwhile
                continue
            with suppress(ValueError):  # of a file that lies
                answer = _read_answer(request, classes)
                self._remember(request.id, answer)
                self.tell(request.id, answer, request.labels)
                self.since = min(self.since, request.labelled)

    def _remember(self, request_id: str, answer: RememberedAnswer) -> None:
        self._answers[request_id] = answer
        self._rows += len(answer.said)
        while self._rows > MOST_ROWS and len(self._answers) > 1:
            _, oldest = self._answers.popitem(last=False)
            self._rows -= len(oldest.said)

    def find(self, request_id: str) -> RememberedAnswer | None:
        """Returns what was answered to a request; None where that is forgotten."""
        return self._answers.get(request_id)

    def forget(self, request_id: str) -> bool:
        """Forgets a request, whose labels stay counted. Returns whether it was known."""
        answer = self._answers.pop(request_id, None)
        self._rows -= len(answer.said) if answer else 0
        return answer is not None

    def tell(self, request_id: str, answer: RememberedAnswer, labels: Labels) -> RememberedAnswer:
        """Counts what is true of an answer, in the place of what was told before."""
        told = replace(answer, labels=labels)
        if request_id in self._answers:
            self._answers[request_id] = told
        key = answer.model, answer.version
        counts = self._counts.get(key, LiveAccuracy(*key, 0, 0))
        rows, right = counts.rows, counts.right
        for sign, rights in ((-1, answer.right()), (1, told.right())):
            rows += sign * sum(r is not None for r in rights)
            right += sign * sum(r is True for r in rights)
        self._counts[key] = counts = LiveAccuracy(*key, rows, right)
        self._show(counts)
        return told

    def accuracies(self) -> list[LiveAccuracy]:
        """Lists how often each version was right."""
        return [self._counts[key] for key in sorted(self._counts)]

    def _show(self, counts: LiveAccuracy) -> None:
        key, said = (counts.model, counts.version), counts.as_json()
        self._told.labels(*key, "true").set(counts.right)
        self._told.labels(*key, "false").set(counts.rows - counts.right)
        if said["interval"]:
            ends = (said["accuracy"], *said["interval"])
            for name, value in zip(("value", "lower", "upper"), ends, strict=True):
                self._accuracy.labels(*key, name).set(value)


def _read_answer(request: KeptRequest, classes: Sequence[str]) -> RememberedAnswer:
    """Returns the answer to a kept request, without labels.

    Raises:
      InputError: where it is no class.
      ValueError: where it is none of the classes, or there are other labels than rows.
    """
    said, classes = request.outputs.get("label"), tuple(classes)
    if request.parameters is not None and "length" in request.outputs:
        said, classes = np.ones(len(request.outputs["length"]), np.int32), OF_TEXTS
    if said is None or said.ndim != 1 or said.dtype.kind not in "iu" or not classes:
        raise InputError(f"the answer to {request.id!r} is no class")
    if not ((said >= 0) & (said < len(classes))).all():
        raise ValueError(f"the kept answer to {request.id!r} names no class")
    if len(request.labels) not in (0, len(said)):
        raise ValueError(f"the kept labels of {request.id!r} are of another number of rows")
    return RememberedAnswer(request.model, request.version, classes, said.astype(np.int32))


def read_labels_told(said: Any, answer: RememberedAnswer) -> Labels:
    """Reads what a client tells to be true of a request.

    Args:
      said: `{'id': ..., 'label': '7'}`, or of several rows `{'id': ..., 'labels': ['7', None]}`. A
        class is said by its name, or by its number.

    Raises:
      InputError: when it is something else, or names no class.
    """
    given = [said["label"]] if "label" in said else said["labels"]
    count = len(answer.said)
    if not isinstance(given, list) or len(given) != count:
        what = "one label" if count == 1 else f"a list of {count} labels, null where unknown"
        raise InputError(f"expected {what}: the request had {count} rows")
    return tuple(None if label is None else _name(label, answer.classes) for label in given)


def _name(label: Any, classes: tuple[str, ...]) -> str:
    if isinstance(label, str) and label in classes:
        return label
    if type(label) is int and 0 <= label < len(classes):
        return classes[label]
    shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
    raise InputError(f"{label!r:.60} is none of the {len(classes)} classes: {shown}")
