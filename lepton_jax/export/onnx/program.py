"""The ONNX program of a bundle: made, tried on the bundle's examples, and described.

A program that does not answer its own examples is not written: the signature says why there is
none, and the bundle has its StableHLO program as ever.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lepton_jax.answers.kind import find_kind
from lepton_jax.errors import WorkError
from lepton_jax.export import stablehlo
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.lineage import scrub_values
from lepton_jax.export.onnx.convert import PRODUCER, convert_to_onnx
from lepton_jax.export.onnx.graph import IR_VERSION, OPSET
from lepton_jax.serving import loader
from lepton_jax.serving.lengths import group_by_length, shorten_texts
from lepton_jax.serving.programs import Answer
from lepton_jax.version import __version__

LEAST_LENGTH = 8
"""Places of the shortest text that a program takes: to have fewer saves no time."""


def make_onnx(
    model: Exportable,
    weights_file: bytes,
    signature: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
) -> tuple[bytes | None, dict[str, Any]]:
    """Converts a model, and runs it on the examples as whoever gets the bundle would.

    A program takes texts of any length, where that gives the answers that padded texts get.

    Args:
      weights_file: the bundle's weights.safetensors, which the program points into.
      signature: how inputs are made of texts, and the tolerance.
      inputs, expected: the examples, and the answers that are expected within the tolerance.

    Returns:
      The file, or None; and what the signature says of it.
    """
    text = signature.get("text")
    if text is None:
        return _try_to_make(model, weights_file, signature, inputs, expected, {})
    length: dict[str, Any] = {"least": LEAST_LENGTH, "most": text["size"]}
    if "length" not in text["inputs"]:
        length = {"unavailable": "the model is not told how long a text is"}
    elif text["size"] <= LEAST_LENGTH:
        length = {"unavailable": f"a text has {text['size']} places"}
    else:
        made, said = _try_to_make(model, weights_file, signature, inputs, expected, length)
        if made is not None:
            return made, said
        length = said
    return _try_to_make(model, weights_file, signature, inputs, expected, length)


def _try_to_make(
    model: Exportable,
    weights_file: bytes,
    signature: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    length: Mapping[str, Any],
) -> tuple[bytes | None, dict[str, Any]]:
    """Makes the program as `make_onnx` does, for texts of the length that is said of it."""
    try:
        double = any(w.dtype == np.float64 for w in model.weights.values())
        least = length.get("least", 0)
        fields = signature["text"]["inputs"].items() if least else ()
        long = [field for part, field in fields if part != "length"]
        with jax.enable_x64(double):
            made = convert_to_onnx(
                model.forward, model.input_fields, weights_file, long=long, least=least
            )
        said = {
            "computes_in": "float64" if double else "float32",
            "inputs": made.inputs,
            "ir_version": IR_VERSION,
            **({"length": dict(length)} if length else {}),
            "opset": OPSET,
            "outputs": made.outputs,
            "path": loader.ONNX,
            "producer": f"{PRODUCER} {__version__}",
        }
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / loader.ONNX).write_bytes(made.content)
            (Path(folder) / loader.WEIGHTS).write_bytes(weights_file)
            answer = loader.open_onnx(folder, said)
        _check_answers(model, signature, answer(inputs), expected)
        if least:
            _check_lengths(model, signature, said, answer, inputs, expected)
    except Exception as e:  # noqa: BLE001  a model from outside may do what no rule has thought of
        reason = str(e) if isinstance(e, WorkError) else f"{type(e).__name__}: {e}"
        return None, scrub_values({"unavailable": (reason.splitlines() or [""])[0][:300]})
    return made.content, said


def _check_answers(
    model: Exportable,
    signature: Mapping[str, Any],
    answers: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    of: str = "",
) -> None:
    """Raises `WorkError` where answers are others than those that are expected."""
    for name, wanted in expected.items():
        if answers[name].dtype != wanted.dtype:
            raise WorkError(f"{name!r} is {answers[name].dtype} in ONNX, not {wanted.dtype}")
        if answers[name].shape != wanted.shape:
            raise WorkError(f"{name!r} is {answers[name].shape}{of}, not {wanted.shape}")
    compared = find_kind(model.answer).compare(answers, expected, signature["tolerance"])
    if not compared.same:
        raise WorkError(f"its answers{of or ' to the examples'} are others: {compared.detail}")


def _check_lengths(
    model: Exportable,
    signature: Mapping[str, Any],
    said: Mapping[str, Any],
    answer: Answer,
    inputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
) -> None:
    """Compares the answers to texts that are cut with those of the model to padded texts: of the
    examples, and of their beginnings.

    Raises:
      WorkError: where they are others.
    """
    begun = _begin_texts(signature["text"], inputs)
    with jax.enable_x64(said["computes_in"] == "float64"):
        of_begun = stablehlo.compute_answers(model.forward, model.weights, begun)
    length = signature["text"]["inputs"]["length"]
    for texts, wanted in ((inputs, expected), (begun, of_begun)):
        longest = max(int(texts[length].max()), said["length"]["least"])
        everything = np.arange(len(texts[length]))
        groups = [(everything, shorten_texts(signature, texts, longest))]
        for places, rows in groups + group_by_length(signature, said, texts):
            here = {k: y[places] for k, y in wanted.items()}
            _check_answers(model, signature, answer(rows), here, " of texts that are cut")


def _begin_texts(
    text: Mapping[str, Any], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns texts that end early: the first after two tokens, and each later than the one before
    it, if it is as long.
    """
    fields, size = text["inputs"], text["size"]
    length_B = inputs[fields["length"]]
    ends_B = np.linspace(2, size, len(length_B)).astype(length_B.dtype)
    length_B = np.minimum(length_B, ends_B)
    filled = {"tokens": text["pad"], "kinds": 0}
    begun = {**inputs, fields["length"]: length_B}
    for part, field in fields.items():
        if part != "length":
            inside = np.arange(size) < length_B[:, None]
            begun[field] = np.where(inside, inputs[field], filled[part]).astype(inputs[field].dtype)
    return begun
