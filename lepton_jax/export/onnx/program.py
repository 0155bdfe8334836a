"""The ONNX program of a bundle: made, tried on the bundle's examples, and described.

A program that does not answer its own examples is not written: the signature says why there is
none, and the bundle has its StableHLO program as ever.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lepton_jax.answers.kind import Kind
from lepton_jax.errors import WorkError
from lepton_jax.export.lineage import scrub_values
from lepton_jax.export.onnx.convert import PRODUCER, convert_to_onnx
from lepton_jax.export.onnx.graph import IR_VERSION, OPSET
from lepton_jax.serving import loader
from lepton_jax.version import __version__


def make_onnx(
    forward: Any,
    input_fields: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    weights_file: bytes,
    examples: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
    kind: Kind,
    tolerance: float,
) -> tuple[bytes | None, dict[str, Any]]:
    """Converts `forward`, and runs it on the examples as whoever gets the bundle would.

    Args:
      weights_file: the bundle's weights.safetensors, which the program points into.
      examples: inputs, and the answers that are expected within the tolerance.

    Returns:
      The file, or None; and what the signature says of it.
    """
    specs = {k: jax.ShapeDtypeStruct(w.shape, w.dtype) for k, w in weights.items()}
    inputs, expected = examples
    try:
        made = convert_to_onnx(forward, specs, input_fields, weight_places(weights_file))
        said = {
            "computes_in": "float32",
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
        compared = kind.compare(answers, expected, tolerance)
        if not compared.same:
            raise WorkError(f"its answers to the examples are others: {compared.detail}")
    except Exception as e:  # noqa: BLE001  a model from outside may do what no rule has thought of
        reason = str(e) if isinstance(e, WorkError) else f"{type(e).__name__}: {e}"
        return None, scrub_values({"unavailable": (reason.splitlines() or [""])[0][:300]})
    return made.content, said


def weight_places(weights_file: bytes) -> dict[str, dict[str, Any]]:
    """Returns where each array of a safetensors file lies: location, offset and length."""
    size = int.from_bytes(weights_file[:8], "little")
    header = json.loads(weights_file[8 : 8 + size])
    return {
        name: {
            "location": os.path.basename(loader.WEIGHTS),
            "offset": 8 + size + told["data_offsets"][0],
            "length": told["data_offsets"][1] - told["data_offsets"][0],
        }
        for name, told in header.items()
        if name != "__metadata__"
    }
