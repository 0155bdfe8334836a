"""Variants of a bundle: its weights in fewer bits, with programs that read them.

Only the weights are smaller: the programs make float32 of them and compute as before. What that
costs in the metric is measured on the test split, against float32, and stands in the signature.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors.numpy import save

from lepton_jax.answers.kind import MeasuredAgain, find_kind
from lepton_jax.errors import UserError, choice_error
from lepton_jax.export import stablehlo
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.onnx.program import make_onnx
from lepton_jax.serving import loader

VARIANTS = ("bfloat16", "int8")

SCALE = "#scale"
"""Ends the name of the scales of an int8 array."""

MEASURED = 10_000
"""Examples, at most, on which the metric is measured; they are spread evenly over the split."""

BATCH = 256
DRAWS = 500
"""Drawn sets of the examples, for the interval of a difference."""


def parse_variants(text: str) -> tuple[str, ...]:
    """Reads `bfloat16,int8`. Raises `UserError` for another name."""
    names = tuple(dict.fromkeys(filter(None, text.split(","))))
    for name in names:
        if name not in VARIANTS:
            raise choice_error("export: no variant", name, VARIANTS, "--variants")
    return names


def make_variant(
    name: str,
    model: Exportable,
    signature: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Makes a variant of a model.

    Args:
      signature: the bundle's, of which the tolerance and the programs are taken.
      inputs: the examples.

    Returns:
      The files by name, and what signature.json says of it.
    """
    weights, folder = pack_weights(model.weights, name), f"variants/{name}"
    if weights.keys() == model.weights.keys() and all(
        weights[k].dtype == model.weights[k].dtype for k in weights
    ):
        raise UserError(
            f"--variants={name}: the model has no matrix in float32, which is what it makes smaller"
        )

    def forward(weights: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        return model.forward(unpack_weights(weights), inputs)

    smaller = replace(model, forward=forward, weights=weights)
    weights_file = save(weights)
    program, _ = stablehlo.export_program(forward, weights, model.input_fields)
    outputs = stablehlo.compute_answers(forward, weights, inputs)
    onnx, said = make_onnx(smaller, weights_file, signature, inputs, outputs)
    files = {
        f"{folder}/forward.bin": program,
        f"{folder}/{loader.WEIGHTS}": weights_file,
        f"{folder}/examples.safetensors": save(
            {f"outputs.{k}": np.ascontiguousarray(v) for k, v in outputs.items()}
        ),
    }
    kept = {k: v for k, v in signature["programs"]["stablehlo"].items() if k != "path"}
    where = {"weights": f"{folder}/{loader.WEIGHTS}"}
    programs = {"stablehlo": {**kept, **where, "path": f"{folder}/forward.bin"}, "onnx": said}
    if onnx is not None:
        files[f"{folder}/{loader.ONNX}"] = onnx
        programs["onnx"] = {**said, "path": f"{folder}/{loader.ONNX}"}
    described = {
        "bytes": len(weights_file),
        "examples": f"{folder}/examples.safetensors",
        "measured": measure_loss(model, smaller),
        "programs": programs,
    }
    return files, described


def pack_weights(weights: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Returns weights in fewer bits: of float32 arrays with two axes or more, as others are small.

    bfloat16 is a cast. int8 has a scale for each place of the last axis, which is the outputs of a
    layer: w is about `int8 * scale`.
    """
    packed: dict[str, np.ndarray] = {}
    for key, w in weights.items():
        if w.ndim < 2 or w.dtype != np.float32:
            packed[key] = w
        elif name == "bfloat16":
            packed[key] = w.astype(ml_dtypes.bfloat16)
        else:
            largest = np.abs(w).max(tuple(range(w.ndim - 1)), keepdims=True)
            scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
            packed[key] = np.rint(w / scale).astype(np.int8)
            packed[key + SCALE] = scale
    return packed


def unpack_weights(packed: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the weights that were packed, in float32; traced by JAX."""
    weights = {}
    for key, w in packed.items():
        if key.endswith(SCALE):
            continue
        if key + SCALE in packed:
            w = w.astype(jnp.float32) * packed[key + SCALE]
        weights[key] = w.astype(jnp.float32) if w.dtype == jnp.bfloat16 else w
    return weights


def measure_loss(model: Exportable, variant: Exportable) -> dict[str, Any] | None:
    """Measures what a variant costs: its metric on the test split, beside that of float32.

    Returns:
      `metric`, `examples`, `float32`, `variant`, their `difference`, and the `interval` in which
      the difference lies in 95 % of sets of examples that are drawn anew, both models answering
      the same. None where there is nothing to measure on.
    """
    split = model.splits.get("test")
    if split is None or not model.input_fields.keys() <= split.columns.keys():
        return None
    index = np.linspace(0, len(split) - 1, min(MEASURED, len(split))).astype(np.int64)
    rows = {k: np.asarray(split.columns[k][index]) for k in model.input_fields}
    first, second = (_answer(m, rows) for m in (model, variant))
    named = _find_metric(model, split.columns, first, index)
    if named is None:
        return None
    metric, measure = named
    everything = np.arange(len(index))
    before, after = measure(first, everything), measure(second, everything)
    chance = np.random.default_rng(0)
    drawn = [chance.integers(0, len(index), len(index)) for _ in range(DRAWS)]
    differences = [measure(second, d) - measure(first, d) for d in drawn]
    low, high = np.quantile(differences, (0.025, 0.975))
    return {
        "metric": metric,
        "examples": len(index),
        "float32": before,
        "variant": after,
        "difference": after - before,
        "interval": [float(low), float(high)],
    }


Measure = Callable[[Mapping[str, np.ndarray], np.ndarray], float]
"""The metric of answers to the examples of these numbers."""


def _find_metric(
    model: Exportable,
    columns: Mapping[str, Any],
    answers: Mapping[str, np.ndarray],
    index: np.ndarray,
) -> tuple[str, Measure] | None:
    """Returns the metric that the kind of answer is measured by, or of a language model its loss
    in nats a token; None where there is neither.
    """
    kind = find_kind(model.answer)
    if isinstance(kind, MeasuredAgain) and all(f in columns for f in kind.truth_fields):
        truth = {f: np.asarray(columns[f][index]) for f in kind.truth_fields}
        measured = kind

        def of_kind(answers: Mapping[str, np.ndarray], chosen: np.ndarray) -> float:
            of_answers = {k: v[chosen] for k, v in answers.items()}
            of_truth = {k: v[chosen] for k, v in truth.items()}
            return float(measured.measure(of_answers, of_truth, model.classes))

        return kind.metric, of_kind
    if {"nats", "counted"} <= answers.keys():

        def of_tokens(answers: Mapping[str, np.ndarray], chosen: np.ndarray) -> float:
            return float(answers["nats"][chosen].sum() / answers["counted"][chosen].sum())

        return "loss", of_tokens
    return None


def _answer(model: Exportable, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Answers all rows on the CPU, in batches of one size."""
    count = len(next(iter(rows.values())))
    parts: list[dict[str, np.ndarray]] = []
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        call, weights = jax.jit(model.forward), jax.device_put(dict(model.weights))
        for start in range(0, count, BATCH):
            places = np.minimum(np.arange(start, start + BATCH), count - 1)
            made = call(weights, {k: x[places] for k, x in rows.items()})
            parts.append({k: np.asarray(y)[: count - start] for k, y in made.items()})
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
