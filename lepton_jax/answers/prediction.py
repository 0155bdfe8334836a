"""One answer of a model as `predict` shows it: in a line, below a picture, or as JSON."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lepton_jax.answers.kind import Arrays, Picture


@dataclass(frozen=True)
class Prediction:
    """What the model says of one input.

    `label` and `probability` are None where the answer is no class. `truth` is None where it is not
    known: the true class, or the fields of the data that outputs are named after. `said` are the
    lines of a kind that has its own words. `of_text`: the input is a text. `runner_up`: the second
    class and its probability, where the answer is not sure.
    """

    input: str
    label: str | None = None
    probability: float | None = None
    truth: str | dict[str, Any] | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    image: np.ndarray | None = field(repr=False, compare=False, default=None)
    text: str | None = None
    of_text: bool = False
    said: tuple[str, ...] = ()
    runner_up: tuple[str, float] | None = None

    @property
    def is_right(self) -> bool | None:
        """Whether the class is the true one; None where there is none, or it is not known."""
        return None if self.label is None or self.truth is None else self.label == self.truth

    def as_json(self) -> dict[str, Any]:
        """Returns input, answer and truth; `text` only where the answer is one."""
        return {
            "input": self.input,
            "label": self.label,
            "probability": self.probability,
            "truth": self.truth,
            "outputs": self.outputs,
        } | ({} if self.text is None else {"text": self.text})

    def lines(self) -> list[str]:
        """Returns one line, `input -> answer`, where the input is a text; else none."""
        if not self.of_text:
            return []
        if self.text is not None:
            return [f"{self.input} -> {self.text}"]
        if self.label is None:
            said = self.said or describe_numbers(self.outputs, self.truth)
            return [f"{self.input} -> {', '.join(said)}"]
        wrong = f", true {self.truth} WRONG" if self.is_right is False else ""
        answer = ", ".join([f"{self.label} ({self.probability:.1%})", *self._second()])
        return [f"{self.input} -> {answer}{wrong}"]

    def picture(self) -> Picture | None:
        """Returns the image over what is said of it; None where the input is a text."""
        return None if self.of_text else (self.image, self._caption())

    def _caption(self) -> list[str]:
        if self.label is None:
            said = self.said or describe_numbers(self.outputs, self.truth)
            return [os.path.basename(self.input), *said]
        answer = f"{self.label} ({self.probability:.1%})"
        if self.truth is None:
            return [os.path.basename(self.input), answer, *self._second()]
        judged = f"said {answer}{'' if self.is_right else ' WRONG'}"
        return [f"true {self.truth}", judged, *self._second()]

    def _second(self) -> list[str]:
        return [f"or {self.runner_up[0]} ({self.runner_up[1]:.1%})"] if self.runner_up else []


def describe_numbers(outputs: Mapping[str, Any], truth: Any) -> list[str]:
    """Writes each output that fits a line, beside its truth: `degrees 12.5 (true 11)`."""

    def short(x: Any) -> str:
        return np.array2string(np.asarray(x), precision=4)

    true = {name: f" (true {short(x)})" for name, x in (truth or {}).items()}
    small = {name: x for name, x in outputs.items() if np.size(x) <= 8}
    return [f"{name} {short(x)}{true.get(name, '')}" for name, x in small.items()]


def as_lists(arrays: Arrays) -> dict[str, Any]:
    """Returns the arrays as (nested) lists of numbers, for JSON."""
    return {name: array.tolist() for name, array in arrays.items()}


def first_image(arrays: Arrays) -> np.ndarray | None:
    """Returns the first picture, uint8 [H, W, C], among the arrays of one example; or None."""
    return next((a for a in arrays.values() if a.ndim == 3 and a.dtype == np.uint8), None)
