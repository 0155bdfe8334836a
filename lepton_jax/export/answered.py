"""Computes what a model answers to each example of `test`, for its bundle to keep."""

import hashlib
from collections.abc import Mapping

import numpy as np

from lepton_jax.answers.class_label import ClassKind
from lepton_jax.answers.kind import find_kind
from lepton_jax.evaluation.answered import AnsweredExamples
from lepton_jax.export import stablehlo
from lepton_jax.export.exportable import Exportable

MOST = 10_000
"""Examples that are kept: of a larger `test`, so many that are spread evenly over it."""

_BATCH = 256


def answer_test(model: Exportable) -> AnsweredExamples | None:
    """Computes what a model answers to the examples of `test`, on the CPU.

    Returns None where answers are no classes, or the data has no `test` with labels.
    """
    test = model.splits.get("test")
    if not isinstance(find_kind(model.answer), ClassKind) or test is None or not len(test):
        return None
    columns = test.columns
    if "label" not in columns or len(columns["label"].shape) != 1:
        return None
    count = min(MOST, len(test))
    index = np.linspace(0, len(test) - 1, count).astype(np.int64)
    digest, parts = hashlib.sha256(), []
    for start in range(0, count, _BATCH):
        rows = index[start : start + _BATCH]
        inputs = {name: np.asarray(columns[name][rows]) for name in sorted(model.input_fields)}
        label = np.asarray(columns["label"][rows])
        for array in (*inputs.values(), label):
            digest.update(np.ascontiguousarray(array).tobytes())
        parts.append(_answer_rows(model, inputs, label))
    joined = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    if not ((joined["label"] >= 0) & (joined["label"] < len(model.classes))).all():
        return None  # as of a `test` whose classes are kept secret, which are -1
    return AnsweredExamples(
        example=index.astype(np.int32), of=len(test), data=f"sha256:{digest.hexdigest()}", **joined
    )


def _answer_rows(
    model: Exportable, inputs: Mapping[str, np.ndarray], label: np.ndarray
) -> dict[str, np.ndarray]:
    """Answers a batch that is filled up with its last row: all batches have one size."""
    count = len(label)
    filled = {
        k: np.concatenate([x, np.repeat(x[-1:], _BATCH - count, 0)]) for k, x in inputs.items()
    }
    outputs = stablehlo.compute_answers(model.forward, model.weights, filled)
    sure = np.nan_to_num(outputs["probabilities"][:count].astype(np.float32), nan=0.0)
    said = outputs["label"][:count].astype(np.int32)
    rows = np.arange(count)
    return {
        "label": label.astype(np.int32),
        "answer": said,
        "confidence": sure[rows, said],
        "truth": sure[rows, np.clip(label, 0, sure.shape[-1] - 1)],
    }
