"""The programs by which a bundle of a language model goes on from what it has read, with a cache.

Each is made as StableHLO and, where that can be, as ONNX. One that does not give the probabilities
of the model itself is not written.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from lepton_jax.errors import WorkError
from lepton_jax.export import stablehlo
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.lineage import scrub_values
from lepton_jax.export.onnx.convert import convert_specs
from lepton_jax.export.reading import Reading
from lepton_jax.serving import loader
from lepton_jax.serving.cached import CachedPrograms, cached_rows

PARTS = ("prefill", "step")


def make_cached(
    model: Exportable,
    weights: Mapping[str, np.ndarray],
    weights_file: bytes,
    signature: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Makes the programs of a language model that reads with a cache.

    Args:
      weights_file: the bundle's weights.safetensors, which the ONNX programs point into.
      inputs, outputs: the examples, and what the model answers to them.

    Returns:
      The files by name, and what signature.json says of them; both empty where the model does not
      read with a cache.
    """
    reading = model.reading
    if reading is None or not (signature.get("text") or {}).get("goes_on"):
        return {}, {}
    cache = {k: {"dtype": str(s.dtype), "shape": list(s.shape)} for k, s in reading.cache.items()}
    said: dict[str, Any] = {"cache": cache, "context": reading.context, "programs": {}}
    files: dict[str, bytes] = {}
    for kind in ("stablehlo", "onnx"):
        try:
            made, described = (
                _make_stablehlo(reading, weights, signature)
                if kind == "stablehlo"
                else _make_onnx(reading, weights_file, signature)
            )
            _try_out(
                {**made, loader.WEIGHTS: weights_file},
                kind,
                said,
                described,
                inputs,
                outputs,
                signature,
            )
        except Exception as e:  # noqa: BLE001  a model from outside may do what no rule has thought of
            reason = str(e) if isinstance(e, WorkError) else f"{type(e).__name__}: {e}"
            first = (reason.splitlines() or [""])[0][:300]
            said["programs"][kind] = scrub_values({"unavailable": first})
        else:
            files |= made
            said["programs"][kind] = described
    return files, {"cached": said}


def _specs(reading: Reading, part: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the inputs of a part. The symbol `b` is the length of the prompt, or the batch."""
    most = reading.context or 1 << 20
    (size,) = export.symbolic_shape("b", constraints=[f"b <= {most}"] if part == "prefill" else ())
    shape = (1, size) if part == "prefill" else (size, 1)
    tokens = {"tokens": jax.ShapeDtypeStruct(shape, jnp.int32)}
    if part == "prefill":
        return tokens
    return tokens | {
        k: jax.ShapeDtypeStruct((size, *s.shape), s.dtype) for k, s in reading.cache.items()
    }


def _make_stablehlo(
    reading: Reading, weights: Mapping[str, np.ndarray], signature: Mapping[str, Any]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    program = signature["programs"]["stablehlo"]
    kept = {k: program[k] for k in ("exported", "jax", "x64")}
    files, said = {}, {}
    for part in PARTS:
        path = f"programs/stablehlo/{part}.bin"
        function = getattr(reading, part)
        with jax.enable_x64(program["x64"]):
            files[path], _ = stablehlo.serialize_program(function, weights, _specs(reading, part))
        said[part] = {"path": path, **kept}
    return files, said


def _make_onnx(
    reading: Reading, weights_file: bytes, signature: Mapping[str, Any]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    files, said = {}, {}
    for part in PARTS:
        path = f"{part}.onnx"
        axis = 1 if part == "prefill" else 0
        with jax.enable_x64(signature["programs"]["stablehlo"]["x64"]):
            specs = _specs(reading, part)
            made = convert_specs(
                getattr(reading, part), specs, weights_file, {"b": ("tokens", axis)}
            )
        files[path] = made.content
        said[part] = {"path": path, "inputs": made.inputs, "outputs": made.outputs}
    return files, said


def _try_out(
    files: Mapping[str, bytes],
    kind: str,
    said: Mapping[str, Any],
    described: Mapping[str, Any],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    signature: Mapping[str, Any],
) -> None:
    """Reads a few examples by the programs as whoever gets the bundle would.

    Raises:
      WorkError: when they give other probabilities than the model.
    """
    places, rows = cached_rows(signature, inputs)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        all_said = {**signature, "cached": {**said, "programs": {kind: described}}}
        got = CachedPrograms(folder, all_said, kind).probabilities(rows)
    far = np.abs(got - outputs["probabilities"][places]).max(initial=0)
    if not far <= signature["tolerance"]:
        raise WorkError(f"its probabilities with the cache are others, by up to {far:.2g}")
