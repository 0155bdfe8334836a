"""Answers that are one of the data's classes."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_jax.answers.compare import compare_arrays
from lepton_jax.answers.kind import AnswerComparison, Arrays, Reader, Shown
from lepton_jax.answers.prediction import Prediction, as_lists, first_image

# B batch, E examples, K classes.

SURE = 0.6
"""An answer of less probability is shown with the runner-up."""

LONGEST = 24
"""Characters of a file's name below a small picture: the last ones."""


class ClassKind:
    """A class: `label` int32 [B], the most probable one, and `probabilities` float32 [B, K]."""

    outputs = ("label", "probabilities")
    metric = "accuracy"
    truth_fields = ("label",)

    def compare(self, got: Arrays, expected: Arrays, tolerance: float) -> AnswerComparison:
        """Compares labels exactly and probabilities within the tolerance."""
        return compare_arrays(got, expected, tolerance, "labels equal, ")

    def describe(
        self, name: str, inputs: Arrays, outputs: Arrays, truth: Arrays, reader: Reader
    ) -> Shown:
        """Shows the name of the class and its probability beside the true class."""
        numbers, label = as_lists(outputs), int(outputs["label"])
        return Prediction(
            name,
            _name_class(reader, label),
            numbers["probabilities"][label],
            _name_class(reader, int(truth["label"])) if "label" in truth else None,
            numbers,
            first_image(inputs),
            of_text=reader.takes_text,
            runner_up=_runner_up(reader, label, outputs["probabilities"]),
        )

    def measure(self, answers: Arrays, truth: Arrays, classes: Sequence[str]) -> float:
        """Returns the share of labels [E] that are the true ones."""
        return float((answers["label"] == truth["label"]).mean())

    def allowed(self, examples: int) -> float:
        """Allows a thousandth of the examples, as a tie may fall otherwise elsewhere: whole
        examples, so that the accuracy of a small test set must agree exactly.
        """
        return (examples // 1000 + 0.5) / examples

    def worst(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps the label as `answer` [B] and its probability as `confidence` [B]."""
        return {"answer": outputs["label"], "confidence": outputs["probabilities"].max(-1)}

    def caption_worst(
        self, example: Mapping[str, Any], row: Arrays, classes: Sequence[str]
    ) -> str | None:
        """Writes the answer, the true class, the probability, the loss in nats, and the place."""
        if "label" not in row or np.ndim(row["label"]):
            return None
        # The record keeps what is no number as text.
        probability, loss = float(example["confidence"]), float(example["loss"])
        said = f"said {classes[int(example['answer'])]}"
        true = classes[int(row["label"])]
        file = os.path.basename(example.get("file", ""))
        place = f"\n{file[-LONGEST:]}" if file else f", no. {example['example']}"
        return f"{said}\ntrue {true}\n{probability:.0%}, loss {loss:.2f}{place}"

    def is_right(self, example: Mapping[str, Any], row: Arrays) -> bool | None:
        """Tells whether the answer is the true class."""
        if "label" not in row or np.ndim(row["label"]):
            return None
        return int(example["answer"]) == int(row["label"])


def _runner_up(reader: Reader, label: int, probabilities: np.ndarray) -> tuple[str, float] | None:
    """Returns the second class and its probability, of probabilities [K], where the first is not
    `SURE`; None of two classes, where it is the other one.
    """
    if len(probabilities) < 3 or probabilities[label] >= SURE:
        return None
    others = np.where(np.arange(len(probabilities)) == label, -1.0, probabilities)
    second = int(others.argmax())
    return _name_class(reader, second), float(probabilities[second])


def _name_class(reader: Reader, label: int) -> str:
    if 0 <= label < len(reader.labels):
        return reader.labels[label]
    return repr(reader.text([label])) if reader.takes_text else str(label)
