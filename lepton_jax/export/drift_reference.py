"""What a bundle keeps of the held-out examples, so that a server can tell when the world moves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from lepton_jax.answers.class_label import ClassKind
from lepton_jax.answers.kind import find_kind
from lepton_jax.export import stablehlo
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.shifts import ARGUMENT, SHIFTS, shift_images
from lepton_jax.io.files import json_bytes
from lepton_jax.serving.drift.measured import measure_examples, measure_inputs
from lepton_jax.serving.drift.reference import (
    DESCRIPTION,
    FEWEST,
    TABLE,
    Reference,
    Response,
    count_inputs,
)

# M reference examples, S statistics, I statistics of inputs.

MOST_CLASSES, MOST_OTHERS = 1000, 200
"""Examples that are answered: of a model of classes, and of others, which may take long."""

_TABLE_BYTES = 85_000
_BATCH = 50
_PIXELS = 1 << 23
"""Pixels that are changed at a time, to see how statistics move."""


def make_reference(model: Exportable, signature: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns the files of the reference: statistics of held-out examples, and no example.

    They are of `valid`, and of `test` as far as `valid` has too few. Nothing is returned of a model
    whose data has too few of both, or that takes seeds.
    """
    chosen = _choose_rows(model)
    if sum(len(rows) for rows in chosen.values()) < FEWEST:
        return {}
    with jax.enable_x64(any(w.dtype == np.float64 for w in model.weights.values())):
        parts = [
            _measure_rows(model, signature, split, rows[start : start + _BATCH])
            for split, rows in chosen.items()
            for start in range(0, len(rows), _BATCH)
        ]
    names = parts[0].names
    if not names:
        return {}
    values = np.concatenate([p.values for p in parts])
    most = min(len(values), _TABLE_BYTES // (4 * len(names) + 5))
    kept = np.linspace(0, len(values) - 1, most).astype(np.int64)
    reference = Reference(
        names,
        values[kept],
        _join([p.label for p in parts], kept),
        _join([p.correct for p in parts], kept),
        classes=max(p.classes for p in parts),
        splits={split: len(rows) for split, rows in chosen.items()},
    )
    responses = _measure_responses(model, signature, chosen, reference)
    reference = replace(reference, responses=responses)
    arrays = {k: np.ascontiguousarray(v) for k, v in reference.arrays().items()}
    return {DESCRIPTION: json_bytes(reference.describe()), TABLE: save(arrays)}


def _join(parts: Sequence[np.ndarray | None], kept: np.ndarray) -> np.ndarray | None:
    there = [p for p in parts if p is not None]
    return np.concatenate(there)[kept] if len(there) == len(parts) else None


def _choose_rows(model: Exportable) -> dict[str, np.ndarray]:
    """Returns by split the examples that are looked at, spread evenly over it."""
    most = MOST_CLASSES if isinstance(find_kind(model.answer), ClassKind) else MOST_OTHERS
    chosen: dict[str, np.ndarray] = {}
    for split in ("valid", "test"):
        left = most - sum(map(len, chosen.values()))
        columns = model.splits.get(split)
        if columns is None or not left or not set(model.input_fields) <= set(columns.columns):
            continue
        if count := min(left, len(columns)):
            chosen[split] = np.linspace(0, len(columns) - 1, count).astype(np.int64)
    return chosen


def _measure_rows(
    model: Exportable, signature: Mapping[str, Any], split: str, rows: np.ndarray
) -> Reference:
    """Measures a batch, which is filled up with its last row: all batches have one size."""
    columns, count = model.splits[split].columns, len(rows)
    filled = np.append(rows, np.repeat(rows[-1:], _BATCH - count))
    inputs = {name: np.asarray(columns[name][filled]) for name in model.input_fields}
    outputs = stablehlo.compute_answers(model.forward, model.weights, inputs)
    measured = measure_examples(signature, inputs, outputs)
    label, correct, classes = measured.label, None, 0
    if label is not None:
        label, classes = label[:count], outputs["probabilities"].shape[-1]
        truth = columns.get("label")
        if truth is not None and len(truth.shape) == 1:
            correct = np.asarray(truth[rows]) == label
    return Reference(measured.names, measured.values[:count], label, correct, classes, {})


def _measure_responses(
    model: Exportable,
    signature: Mapping[str, Any],
    chosen: Mapping[str, np.ndarray],
    reference: Reference,
) -> tuple[Response, ...]:
    """Measures how the statistics of a uint8 image move when it is changed as by training."""
    decoding = signature.get("decoding")
    if not decoding:
        return ()
    (name,) = model.input_fields
    split, rows = next(iter(chosen.items()))
    columns = model.splits[split].columns
    size = int(np.prod(model.input_fields[name].shape))
    few = max(16, min(len(rows), 200, _PIXELS // size))
    rows = rows[np.linspace(0, len(rows) - 1, min(few, len(rows))).astype(np.int64)]
    images = np.asarray(columns[name][rows])
    scale = reference.scale[: count_inputs(reference.names)]
    before = _measure_images(signature, name, images)
    found = []
    for transform, amounts in SHIFTS.items():
        if transform == "saturation" and images.shape[-1] != 3:
            continue
        for amount in amounts:
            after = _measure_images(signature, name, shift_images(images, transform, amount))
            floor = 1e-3 * scale
            spread = np.maximum(after.std(0), floor) / np.maximum(before.std(0), floor)
            shift = (after.mean(0) - before.mean(0)) / scale
            argument = ARGUMENT.get(transform, "strength")
            found.append(Response(transform, amount, argument, shift, np.log(spread)))
    return tuple(found)


def _measure_images(signature: Mapping[str, Any], name: str, images: np.ndarray) -> np.ndarray:
    found = measure_inputs(signature, {name: images})
    return np.stack([np.asarray(v, np.float64) for v in found.values()], -1)
