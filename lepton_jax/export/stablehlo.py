"""Exports a forward pass as one StableHLO program for CPU, GPU and TPU, for any batch size."""

import contextlib
import functools
import os
import re
import traceback
from collections.abc import Mapping
from typing import Any

import flax
import jax
import numpy as np
from jax import export

from lepton_jax.errors import WorkError

_HALF = re.compile(r"x(?:bf16|f16)>")
_FRAMES = "jax_traceback_in_locations_limit"
_MACHINERY = (
    *(os.path.dirname(str(package.__file__)) + os.sep for package in (jax, flax, np)),
    os.path.dirname(os.path.dirname(__file__)) + os.sep,
    *(str(module.__file__) for module in (contextlib, functools)),
)
PLATFORMS = ("cpu", "cuda", "tpu")


def export_program(
    forward: Any, weights: Mapping[str, np.ndarray], inputs: Mapping[str, Any]
) -> tuple[bytes, bool]:
    """Exports `forward(weights, inputs)`, of which the weights are an argument and not a part.

    Args:
      inputs: shapes and dtypes of one example each, as `FieldSpec`s.

    Returns:
      The serialized program, and whether it computes in less than 32 bits anywhere.

    Raises:
      WorkError: when the model does something that cannot leave this process, e.g. a callback.
    """
    (batch,) = export.symbolic_shape("b")
    weights_spec = {k: jax.ShapeDtypeStruct(w.shape, w.dtype) for k, w in weights.items()}
    inputs_spec = {k: jax.ShapeDtypeStruct((batch, *s.shape), s.dtype) for k, s in inputs.items()}

    def call(weights: Any, inputs: Any) -> Any:  # its name is in the program: 'jit_call'
        return forward(weights, inputs)

    # Without this the program embeds the absolute path and line of everything that was traced:
    # it would carry home directories and change when a file moves.
    frames = getattr(jax.config, _FRAMES)
    jax.config.update(_FRAMES, 0)
    try:
        exported = export.export(jax.jit(call), platforms=PLATFORMS)(weights_spec, inputs_spec)
        return bytes(exported.serialize()), bool(_HALF.search(exported.mlir_module()))
    except (NotImplementedError, TypeError, jax.errors.JAXTypeError) as e:
        symbolic = "_DimExpr" in str(e)
        cure = "; the batch axis has no number here: x.shape[0], never len(x)" if symbolic else ""
        raise WorkError(
            f"this model cannot be exported for {', '.join(PLATFORMS)} and any batch size"
            f"{_users_line(e)}: {e}{cure}"
        ) from e
    finally:
        jax.config.update(_FRAMES, frames)


def _users_line(error: BaseException) -> str:
    """Returns ` (nets.py:12: code)`, the innermost line that is the user's; '' where none is."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(_MACHINERY)]
    return f" ({users[-1].filename}:{users[-1].lineno}: {users[-1].line})" if users else ""


def compute_answers(
    forward: Any, weights: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Computes the answers of the model itself, not of its exported program, on the CPU.

    Bundles are verified on the CPU. A GPU's convolutions may round to TF32, which would ask for a
    tolerance too wide to be of use.
    """
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        outputs = jax.jit(forward)(dict(weights), dict(inputs))
    return {name: np.asarray(jax.device_get(y)) for name, y in outputs.items()}
