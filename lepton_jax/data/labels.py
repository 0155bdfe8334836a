"""Checks of labels: they name a class, are not withheld, and every class has an example."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lepton_jax.data.decoder import describe_example
from lepton_jax.data.source import Columns, Split, labels_of
from lepton_jax.data.spec import SHOWN
from lepton_jax.errors import UserError, list_names

HIDDEN = -1
"""The label of test examples whose labels are not published, as TensorFlow Datasets has it."""


def check_label(
    example: Mapping[str, Any], classes: tuple[str, ...], split: Split, name: str, i: int
) -> None:
    """Checks that the label of an example, where it is a number, names a class.

    Raises:
      UserError: naming the example.
    """
    label = np.asarray(example.get("label"))
    if classes and label.shape == () and label.dtype.kind in "iu":
        _check(np.array([label]), classes, split, name, i)


def check_labels(splits: Mapping[str, Columns], raw: Mapping[str, Split], classes: Any) -> None:
    """Checks every label that can be had without decoding images, as `check_label` does.

    `splits` hold the labels, and `raw` the same splits before decoding, for messages.
    """
    for name, columns in splits.items():
        labels = labels_of(columns)
        if classes and labels is not None:
            _check(labels, classes, raw[name], name, 0)


def hides_labels(columns: Columns) -> bool:
    """Returns whether every label of a split is withheld."""
    labels = labels_of(columns)
    return labels is not None and len(labels) > 0 and bool((labels == HIDDEN).all())


def absent_class_warnings(splits: Mapping[str, Columns], classes: tuple[str, ...]) -> list[str]:
    """Returns a sentence for each split that has no example of some class."""
    warnings = []
    for name, columns in splits.items():
        labels = labels_of(columns)
        if labels is None or not classes:
            continue
        absent = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
        if len(absent):
            names = list_names((repr(classes[k]) for k in absent), SHOWN)
            warnings.append(f"split {name!r} has no example of class {names}")
    return warnings


def _check(labels: np.ndarray, classes: Any, split: Split, name: str, start: int) -> None:
    bad = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if len(bad):
        i = int(bad[0])
        raise UserError(
            f"{describe_example(split, name, start + i)}: label {labels[i]}; expected 0 to "
            f"{len(classes) - 1}, the {len(classes)} classes of the data"
            + (f" ({len(bad)} labels are out of range)" if len(bad) > 1 else "")
        )
