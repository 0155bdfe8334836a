"""What a model answered to each example of `test`: a small file that a bundle holds.

A gate computes intervals from it, and compares two bundles example by example.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

ANSWERED = "examples/test_answers.safetensors"
"""Where it lies in a bundle."""

MOST_BYTES = 1 << 22
"""Bytes that the file has at most."""

_FIELDS = {
    "example": np.int32,
    "label": np.int32,
    "answer": np.int32,
    "confidence": np.float32,
    "truth": np.float32,
}


@dataclass(frozen=True)
class AnsweredExamples:
    """The examples of `test` that a bundle keeps, `[N]` each."""

    example: np.ndarray
    """The place of the example in `test`."""
    label: np.ndarray
    """The true class."""
    answer: np.ndarray
    """The class that the model said."""
    confidence: np.ndarray
    """The probability of the class that it said."""
    truth: np.ndarray
    """The probability of the true class."""
    of: int
    """The number of examples in `test`."""
    data: str
    """The digest of the inputs and labels: two bundles with one digest answered the same."""

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether the answer is the true class, bool `[N]`."""
        return self.answer == self.label

    def as_bytes(self) -> bytes:
        """Returns the file that `parse_answered` reads."""
        arrays = {k: np.ascontiguousarray(getattr(self, k), d) for k, d in _FIELDS.items()}
        return save(arrays, {"test": f"{self.of} {self.data}"})  # one key: several have no order


def parse_answered(text: bytes) -> AnsweredExamples:
    """Reads what `AnsweredExamples.as_bytes` returns.

    Raises:
      ValueError: when it is something else.
    """
    try:
        arrays = load(text)
        length = int.from_bytes(text[:8], "little")
        said: Any = json.loads(text[8 : 8 + length])["__metadata__"]
        for name, dtype in _FIELDS.items():
            if arrays[name].dtype != dtype or arrays[name].shape != arrays["label"].shape:
                raise ValueError(f"{name} is {arrays[name].dtype} {list(arrays[name].shape)}")
        if arrays["label"].ndim != 1 or not len(arrays["label"]):
            raise ValueError("it holds no examples")
        for name in ("confidence", "truth"):
            if not ((arrays[name] >= 0) & (arrays[name] <= 1 + 1e-3)).all():
                raise ValueError(f"{name} is no probability")
        if min(arrays["label"].min(), arrays["answer"].min()) < 0:
            raise ValueError("a class is below 0")
        of, data = str(said["test"]).split(" ")
        return AnsweredExamples(**{name: arrays[name] for name in _FIELDS}, of=int(of), data=data)
    except (SafetensorError, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(f"{type(e).__name__}: {e!s:.80}") from None
