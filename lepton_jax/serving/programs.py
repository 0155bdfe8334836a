"""The programs of a bundle, opened as functions: StableHLO by jax, ONNX by onnxruntime.

A program is looked at before anything compiles it (`stablehlo.py`, `onnx_file.py`).
"""

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from .errors import UNREADABLE, BundleError
from .files import WEIGHTS, read_file
from .onnx_file import check_onnx
from .stablehlo import check_stablehlo

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]
"""A program: from inputs to outputs, by name."""


def open_program(folder: str | os.PathLike[str], program: str, said: Mapping[str, Any]) -> Answer:
    """Opens the program 'stablehlo' or 'onnx' of a bundle.

    Args:
      said: what the signature says of it.

    Raises:
      BundleError: when it cannot be read, or asks for what no export of lepton_jax needs.
    """
    return (open_onnx if program == "onnx" else open_stablehlo)(folder, said)


def open_stablehlo(folder: str | os.PathLike[str], said: Mapping[str, Any]) -> Answer:
    """Opens the StableHLO program of a bundle with its weights. Arguments as `open_program`."""
    weights = put_weights(folder, str(said.get("weights", WEIGHTS)), bool(said.get("x64")))
    return call_stablehlo(folder, said, weights)


def put_weights(folder: str | os.PathLike[str], path: str, x64: bool) -> Any:
    """Puts the arrays of a safetensors file of a bundle onto the device."""
    import jax

    with jax.enable_x64(x64):
        return jax.device_put(read_arrays(folder, path))


def call_stablehlo(
    folder: str | os.PathLike[str],
    said: Mapping[str, Any],
    weights: Any,
    used_up: Collection[str] = (),
) -> Answer:
    """Opens a StableHLO program of a bundle, to be called with weights on the device.

    Args:
      said: what the signature says of it.
      used_up: inputs whose memory the outputs may take.
    """
    import jax
    from jax import export

    path = str(said["path"])
    origin = (
        f"the program in {os.fspath(folder)} was exported by jax {said.get('jax')!s:.40} on "
        f"{said.get('exported')!s:.40}; jax {jax.__version__} cannot run it"
    )
    x64, blob = bool(said.get("x64")), read_file(folder, path)
    try:
        exported = export.deserialize(bytearray(blob))
        text = exported.mlir_module()
    except (jax.errors.JaxRuntimeError, *UNREADABLE) as e:
        raise BundleError(f"{origin}: {type(e).__name__}: {_first_line(e)}") from None
    check_stablehlo(text, f"{os.fspath(folder)}/{path}")

    def run(weights: Any, inputs: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        return exported.call(weights, {**inputs, **given})

    with jax.enable_x64(x64):
        call = jax.jit(run, donate_argnums=2)

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in inputs.items() if k not in used_up}
        given = {k: v for k, v in inputs.items() if k in used_up}
        try:
            with jax.enable_x64(x64):
                return call(weights, kept, given)
        except (jax.errors.JaxRuntimeError, ValueError) as e:
            raise BundleError(f"{origin}: {_first_line(e)}") from None

    return answer


def open_onnx(folder: str | os.PathLike[str], said: Mapping[str, Any]) -> Answer:
    """Opens the ONNX program in a folder. Arguments as `open_program`.

    It computes in one thread: for one example two are no faster.

    Raises:
      BundleError: also when onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise BundleError("the program 'onnx' needs the package 'onnxruntime'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    where = "session.model_external_initializers_file_folder_path"
    model = read_file(folder, said["path"])
    beside = os.path.join(os.fspath(folder), os.path.dirname(said["path"]))
    options.add_session_config_entry(where, beside)
    check_onnx(model, f"{os.fspath(folder)}/{said['path']}")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # noqa: BLE001  onnxruntime's errors have no class in common
        raise BundleError(f"onnxruntime cannot read {said['path']}: {_first_line(e)}") from None
    used = {i.name for i in session.get_inputs()}
    names = [(field, name) for field, name in said["inputs"].items() if name in used]
    outputs = dict(said["outputs"])

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: inputs[field] for field, name in names}
        try:
            return dict(zip(outputs, session.run(list(outputs.values()), given), strict=True))
        except Exception as e:  # noqa: BLE001
            raise BundleError(f"onnxruntime cannot run {said['path']}: {_first_line(e)}") from None

    return answer


def read_arrays(folder: str | os.PathLike[str], path: str) -> dict[str, np.ndarray]:
    """Reads a safetensors file of a bundle. Raises `BundleError` when it is none."""
    from safetensors import SafetensorError

    try:
        return parse_arrays(read_file(folder, path))
    except (SafetensorError, *UNREADABLE) as e:
        said = f"{type(e).__name__}: {e!s:.200}"
        raise BundleError(f"{os.fspath(folder)}/{path}: {said}") from None


def parse_arrays(content: bytes) -> dict[str, np.ndarray]:
    """Parses a safetensors file; bfloat16 too, which the library's own reader for NumPy lacks."""
    from safetensors import deserialize

    found = {}
    for name, said in deserialize(content):
        array = np.frombuffer(said["data"], _dtype(said["dtype"])).reshape(said["shape"])
        found[name] = array
    return found


def _dtype(name: str) -> Any:
    if name == "BF16":
        import jax.numpy as jnp

        return np.dtype(jnp.bfloat16)
    if name == "BOOL":
        return np.dtype(bool)
    kinds = {"F": "float", "I": "int", "U": "uint"}
    return np.dtype(f"{kinds[name[0]]}{int(name[1:])}")


def _first_line(e: Exception) -> str:
    return f"{(str(e).splitlines() or [''])[0]:.200}"
