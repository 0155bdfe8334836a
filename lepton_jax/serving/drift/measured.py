"""The numbers of each example that are watched: of its inputs, and of the answer to it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .image_statistics import measure_images

# B batch, S statistics, K classes, T tokens, E elements of an answer.

BUCKETS = 16
"""Groups of tokens by a hash: the share of a text's tokens in each is a statistic."""

DIRECTIONS = 4
"""Statistics by which an answer stands for the model's view of an input."""

_MOST_ELEMENTS = 4096
"""Elements of an answer, or of an array, that are looked at: spread over it."""

OF_ANSWERS = ("answer.", "embedding.")
"""How the names of statistics begin that are not of the inputs."""


@dataclass(frozen=True)
class MeasuredRows:
    """The statistics of a batch."""

    names: tuple[str, ...]
    values: np.ndarray
    """float32 [B, S]."""
    label: np.ndarray | None
    """The class that was answered, int64 [B]; None where answers are no classes."""


def measure_examples(
    signature: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> MeasuredRows:
    """Measures examples with their answers.

    Args:
      signature: of the bundle.
      inputs: by name [B, ...], as the signature declares them.
      outputs: what the bundle answered, by name [B, ...].
    """
    found = measure_inputs(signature, inputs)
    said, label = _measure_answers({k: np.asarray(v) for k, v in outputs.items()})
    found |= said
    values_BS = np.stack([np.asarray(v, np.float32) for v in found.values()], -1)
    return MeasuredRows(tuple(found), np.nan_to_num(values_BS), label)


def measure_inputs(
    signature: Mapping[str, Any], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Measures inputs [B, ...]; returns floats [B] by name, `image.brightness`."""
    text = signature.get("text") or {}
    parts = text.get("inputs", {})
    found: dict[str, np.ndarray] = {}
    if "tokens" in parts:
        tokens = inputs[parts["tokens"]]
        whole = np.full(len(tokens), tokens.shape[1])
        length = inputs[parts["length"]] if "length" in parts else whole
        found |= _measure_texts(tokens, length, text.get("unknown"))
    for name in sorted(inputs.keys() - set(parts.values())):
        x = inputs[name]
        image = x.ndim == 4 and x.shape[-1] in (1, 3) and min(x.shape[1:3]) > 1
        measured = measure_images(x) if image and x.dtype.kind in "uf" else _measure_numbers(x)
        found |= {f"{name}.{statistic}": v for statistic, v in measured.items()}
    return found


def _measure_texts(
    tokens_BT: np.ndarray, length_B: np.ndarray, unknown: int | None
) -> dict[str, np.ndarray]:
    inside_BT = np.arange(tokens_BT.shape[1]) < length_B[:, None]
    count_B = np.maximum(inside_BT.sum(-1), 1)
    found = {"text.length": inside_BT.sum(-1)}
    if unknown is not None:
        found["text.unknown"] = ((tokens_BT == unknown) & inside_BT).sum(-1) / count_B
    # Multiplicative hashing (Knuth): the same tokens fall into one group everywhere.
    bucket_BT = (tokens_BT.astype(np.uint32) * np.uint32(2654435761)) >> np.uint32(28)
    for i in range(BUCKETS):
        found[f"text.tokens_{i:02d}"] = ((bucket_BT == i) & inside_BT).sum(-1) / count_B
    return found


def _measure_numbers(x: np.ndarray) -> dict[str, np.ndarray]:
    flat = _flat(x)
    if flat.shape[1] == 1:
        return {"value": flat[:, 0]}
    return {"mean": flat.mean(-1), "spread": flat.std(-1), "least": flat.min(-1),
            "greatest": flat.max(-1)}  # fmt: skip


def _measure_answers(
    outputs: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Measures how sure answers are, and where the model sees their inputs."""
    chance = outputs.get("probabilities")
    if chance is not None and chance.ndim == 2 and chance.shape[1] > 1:
        chance_BK = chance.astype(np.float64)
        ordered_BK = np.partition(chance_BK, -2, -1)
        seen_BK = np.log(np.maximum(chance_BK, 1e-6))
        found = {
            "answer.confidence": ordered_BK[:, -1],
            "answer.margin": ordered_BK[:, -1] - ordered_BK[:, -2],
            "answer.entropy": -(chance_BK * seen_BK).sum(-1),
        }
        label = outputs["label"] if "label" in outputs else chance_BK.argmax(-1)
        label_B = label.astype(np.int64) if label.ndim == 1 else None
        return found | _project(seen_BK - seen_BK.mean(-1, keepdims=True)), label_B
    scores = outputs.get("scores")
    if scores is not None and scores.ndim == 2 and scores.shape[1]:
        count_B = (scores >= 0.5).sum(-1)
        return {"answer.confidence": scores.max(-1), "answer.objects": count_B}, None
    floats = sorted(k for k, v in outputs.items() if v.dtype.kind == "f")
    return (_project(_flat(outputs[floats[0]])) if floats else {}), None


def _flat(x: np.ndarray) -> np.ndarray:
    flat = np.nan_to_num(x.reshape(len(x), -1).astype(np.float32))
    return flat[:, :: max(1, -(-flat.shape[1] // _MOST_ELEMENTS))]


def _project(x_BE: np.ndarray) -> dict[str, np.ndarray]:
    """Projects answers on fixed directions of random signs, which keep distances between them.

    The softmax outputs of a model are what drift is best seen by (Rabanser et al. 2019).
    """
    size = x_BE.shape[1]
    drawn = hashlib.shake_256(b"directions").digest(DIRECTIONS * (-(-size // 8)))
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(DIRECTIONS, -1)[:, :size]
    sign_ED = (2.0 * bits.T - 1) / np.sqrt(size)
    found_BD = x_BE @ sign_ED
    return {f"embedding.{i}": found_BD[:, i] for i in range(DIRECTIONS)}
