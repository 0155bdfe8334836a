"""The first prompts of a model that goes on with texts: what later prompts are compared with.

A bundle's reference is of held-out texts, which are as long as the context. Prompts are not: they
would always look as if they had moved.
"""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from .measured import measure_examples
from .model_watch import ModelWatch
from .reference import Reference

FIRST = 200
"""Prompts that are taken for what the model is asked, from a server's start."""

SPLIT = "first prompts"
"""Where the examples of such a reference come from."""


class FirstPrompts:
    """Measures prompts until there are enough of them to compare others with."""

    def __init__(self, signature: Mapping[str, Any]):
        self._signature = describe_prompts(signature)
        self._pending: list[dict[str, np.ndarray]] = []
        self._adding, self._settling = threading.Lock(), threading.Lock()
        self._rows: list[np.ndarray] = []

    @property
    def waiting(self) -> int:
        """Prompts that wait to be measured."""
        return sum(len(p["length"]) for p in self._pending)

    @property
    def missing(self) -> int:
        """How many more prompts it takes."""
        return max(0, FIRST - sum(map(len, self._rows)))

    def add(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Takes the prompts of a request; as `ModelWatch.add`."""
        with self._adding:
            self._pending.append(dict(inputs))

    def settle(self) -> ModelWatch | None:
        """Measures what waits; returns the watch of later prompts, once there are enough."""
        with self._settling:
            with self._adding:
                pending, self._pending = self._pending, []
            if not pending:
                return None
            inputs = {k: np.concatenate([p[k] for p in pending]) for k in pending[0]}
            measured = measure_examples(self._signature, inputs, {})
            self._rows.append(measured.values)
            if self.missing:
                return None
            values = np.concatenate(self._rows)
            reference = Reference(measured.names, values, None, None, 0, {SPLIT: len(values)})
            return ModelWatch(reference, self._signature)

    def as_json(self) -> dict[str, Any]:
        """Says how many prompts are missing."""
        why = f"{self.missing} of the first {FIRST} prompts are missing, to compare later ones with"
        return {"watched": False, "why": why}


def lay_out_prompts(
    signature: Mapping[str, Any], prompts: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the last tokens of prompts, as many as the model looks back on, `[B, size]`.

    Args:
      signature: of the bundle.
      prompts: `tokens` [B, T], of which the first `length` [B] count.
    """
    size = int(signature["text"]["size"])
    tokens = np.zeros((len(prompts["length"]), size), np.int32)
    length = np.minimum(prompts["length"], size)
    for row, text, count, kept in zip(
        tokens, prompts["tokens"], prompts["length"], length, strict=True
    ):
        row[:kept] = text[count - kept : count]
    return {"tokens": tokens, "length": length}


def describe_prompts(signature: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the signature of a bundle whose inputs are prompts would say."""
    unknown = signature["text"].get("unknown")
    return {"text": {"inputs": {"tokens": "tokens", "length": "length"}, "unknown": unknown}}
