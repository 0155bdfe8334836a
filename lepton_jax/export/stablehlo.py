"""Exports a forward pass as one StableHLO program for CPU, GPU and TPU, for any batch size."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import export

from lepton_jax.config.user_code import users_line
from lepton_jax.errors import WorkError, describe_error
from lepton_jax.serving.errors import BundleError
from lepton_jax.serving.stablehlo import check_stablehlo

_HALF = re.compile(r"x(?:bf16|f16)>")
_FRAMES = "jax_traceback_in_locations_limit"
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
    specs = {k: jax.ShapeDtypeStruct((batch, *s.shape), s.dtype) for k, s in inputs.items()}
    return serialize_program(forward, weights, specs)


def serialize_program(
    forward: Any, weights: Mapping[str, np.ndarray], inputs_spec: Mapping[str, Any]
) -> tuple[bytes, bool]:
    """Exports `forward(weights, inputs)` as `export_program` does.

    Args:
      inputs_spec: shapes and dtypes of whole inputs; a size may be a symbol.
    """
    weights_spec = {k: jax.ShapeDtypeStruct(w.shape, w.dtype) for k, w in weights.items()}

    def call(weights: Any, inputs: Any) -> Any:  # its name is in the program: 'jit_call'
        return forward(weights, inputs)

    # Without this the program embeds the absolute path and line of everything that was traced:
    # it would carry home directories and change when a file moves.
    frames = getattr(jax.config, _FRAMES)
    jax.config.update(_FRAMES, 0)
    try:
        exported = export.export(jax.jit(call), platforms=PLATFORMS)(
            weights_spec, dict(inputs_spec)
        )
        text = exported.mlir_module()
        check_stablehlo(text, "the exported program")
        return bytes(exported.serialize()), bool(_HALF.search(text))
    except BundleError as e:
        raise WorkError(f"this model cannot be exported: {e}") from None
    except (NotImplementedError, TypeError, jax.errors.JAXTypeError) as e:
        symbolic, line = "_DimExpr" in str(e), users_line(e)
        cure = "; the batch axis has no number here: x.shape[0], never len(x)" if symbolic else ""
        raise WorkError(
            f"this model cannot be exported for {', '.join(PLATFORMS)} and any batch size"
            f"{f' ({line})' if line else ''}: {describe_error(e)}{cure}"
        ) from e
    finally:
        jax.config.update(_FRAMES, frames)


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
