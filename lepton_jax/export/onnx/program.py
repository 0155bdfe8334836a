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
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.lineage import scrub_values
from lepton_jax.export.onnx.convert import PRODUCER, convert_to_onnx
from lepton_jax.export.onnx.graph import IR_VERSION, OPSET
from lepton_jax.serving import loader
from lepton_jax.version import __version__


def make_onnx(
    model: Exportable,
    weights_file: bytes,
    inputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float,
) -> tuple[bytes | None, dict[str, Any]]:
    """Converts a model, and runs it on the examples as whoever gets the bundle would.

    Args:
      weights_file: the bundle's weights.safetensors, which the program points into.
      inputs, expected: the examples, and the answers that are expected within the tolerance.

    Returns:
      The file, or None; and what the signature says of it.
    """
    try:
        double = any(w.dtype == np.float64 for w in model.weights.values())
        with jax.enable_x64(double):
            made = convert_to_onnx(model.forward, model.input_fields, weights_file)
        said = {
            "computes_in": "float64" if double else "float32",
            "inputs": made.inputs,
            "ir_version": IR_VERSION,
            "opset": OPSET,
            "outputs": made.outputs,
            "path": loader.ONNX,
            "producer": f"{PRODUCER} {__version__}",
        }
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / loader.ONNX).write_bytes(made.content)
            (Path(folder) / loader.WEIGHTS).write_bytes(weights_file)
            answers = loader.open_onnx(folder, said)(inputs)
        for name, wanted in expected.items():
            if answers[name].dtype != wanted.dtype:
                raise WorkError(f"{name!r} is {answers[name].dtype} in ONNX, not {wanted.dtype}")
        compared = find_kind(model.answer).compare(answers, expected, tolerance)
        if not compared.same:
            raise WorkError(f"its answers to the examples are others: {compared.detail}")
    except Exception as e:  # noqa: BLE001  a model from outside may do what no rule has thought of
        reason = str(e) if isinstance(e, WorkError) else f"{type(e).__name__}: {e}"
        return None, scrub_values({"unavailable": (reason.splitlines() or [""])[0][:300]})
    return made.content, said
