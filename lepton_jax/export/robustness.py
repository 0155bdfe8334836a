"""Measures how well a bundle's own program answers corrupted examples of `test`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.answers.class_label import ClassKind
from lepton_jax.config.gate_text import (
    OF_IMAGES,
    OF_TEXTS,
    ROBUST,
    SEVERITIES,
    read_condition,
    read_gate_text,
)
from lepton_jax.evaluation.corruptions import corrupt_images, corrupt_text
from lepton_jax.export.heldout import HeldOut
from lepton_jax.formats import count_things
from lepton_jax.isolation.clean_process import run_isolated
from lepton_jax.serving import loader

MOST = 1_000
"""Examples on which it is measured: of a larger `test`, so many that are spread evenly over it."""

MOST_BYTES = 1 << 28
"""Bytes of corrupted inputs that lie on the disk at once."""


@dataclass(frozen=True)
class Robustness:
    """How many corrupted examples were answered right."""

    examples: int
    right: dict[str, int]
    """By corruption and severity, `{'noise,3': 341}`."""

    def as_json(self) -> dict[str, Any]:
        return {"examples": self.examples, "right": self.right}

    def __str__(self) -> str:
        worst = min(self.right, key=lambda name: self.right[name])
        count = count_things(len(self.right), "corruption")
        return (
            f"{count} of {self.examples} examples; the lowest accuracy is "
            f"{self.right[worst] / self.examples:.4g}, {ROBUST}({worst})"
        )


def find_robustness(
    folder: Path, identity: str, test: HeldOut | str, everything: bool
) -> Robustness | str:
    """Measures what the gate of a bundle's config asks for, or `everything`.

    Args:
      test: the examples, or a sentence saying why there are none.

    Returns:
      What was measured, a sentence saying why nothing was, or '' where nothing was asked for.
    """
    config = loader.read_object(folder, "lineage.json").get("config")
    asked = [] if everything else _find_asked(config)
    if not asked and not everything:
        return ""
    return test if isinstance(test, str) else _measure(loader.Bundle(folder, identity), test, asked)


def _find_asked(config: Any) -> list[str]:
    """Lists the corruptions that the gate of a config asks for, `['noise,3']`."""
    gate = config.get("gate") if isinstance(config, dict) else ""
    try:
        read = [read_condition(text) for text in read_gate_text(gate or "")]
    except (ValueError, TypeError):
        return []  # the gate cannot be read, and refuses the bundle
    return list(dict.fromkeys(condition.of for condition in read if condition.what == ROBUST))


def _measure(bundle: loader.Bundle, test: HeldOut, asked: Sequence[str]) -> Robustness | str:
    """Measures the accuracy on corrupted examples; of all there are for such inputs if none is
    `asked` for.
    """
    if not isinstance(test.kind, ClassKind) or test.truth["label"].ndim != 1:
        return "answers of this kind are not measured on corrupted inputs: expected one class"
    names = OF_TEXTS if bundle.takes_text else OF_IMAGES
    if not bundle.takes_text and bundle.signature["decoding"] is None:
        return "the inputs are neither images nor texts, which are what can be corrupted"
    chosen = list(asked) or [f"{name},{severity}" for name in names for severity in SEVERITIES]
    fitting = [c for c in chosen if c.partition(",")[0] in names]
    if not fitting:
        return (
            f"the gate asks for {', '.join(chosen)}; of such inputs there are: {', '.join(names)}"
        )
    places = np.linspace(0, len(test) - 1, min(MOST, len(test))).astype(np.int64)
    size = sum(x[:1].nbytes for x in test.inputs.values()) * len(places)
    some, right = max(1, MOST_BYTES // max(size, 1)), {}
    for start in range(0, len(fitting), some):  # a process for so many at once
        ours = fitting[start : start + some]
        try:
            inputs = [_corrupt(bundle, test, corruption, places) for corruption in ours]
        except loader.InputError as e:  # a typo can make more tokens than the model takes
            return f"a corrupted text is none that the bundle takes: {e}"
        report, answers = run_isolated(bundle.folder, bundle.id, inputs)
        if report["violations"] or not answers:
            return f"it did not answer: {'; '.join(report['violations']) or report['error']}"
        for one, said in zip(ours, answers, strict=True):
            right[one] = int((said["label"] == test.truth["label"][places]).sum())
    return Robustness(len(places), right)


def _corrupt(
    bundle: loader.Bundle, test: HeldOut, corruption: str, places: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the inputs of the examples at `places`, corrupted: 'noise,3'."""
    name, severity = corruption.split(",")[0], int(corruption.split(",")[1])
    if name in OF_IMAGES:
        field = bundle.signature["decoding"]["input"]
        return {field: corrupt_images(test.inputs[field][places], name, severity, places)}
    rows = [
        bundle.encode(*(corrupt_text(text, name, severity, i) for text in test.find_texts(i)))[0]
        for i in places.tolist()
    ]
    return {field: np.stack([row[field] for row in rows]) for field in rows[0]}
