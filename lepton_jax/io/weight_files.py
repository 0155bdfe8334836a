"""Files of weights: safetensors, and folders as `save_pretrained` of Hugging Face leaves them."""

import jax.numpy as jnp
import numpy as np
from etils import epath

from lepton_jax.errors import UserError

PRETRAINED = "model.safetensors"
PRETRAINED_INDEX = "model.safetensors.index.json"
"""Names the parts of weights that are too large for one file."""

_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
    "F8_E4M3": jnp.float8_e4m3fn, "F8_E5M2": jnp.float8_e5m2,
}  # fmt: skip


def is_pretrained(folder: epath.Path) -> bool:
    """Tells whether `folder` holds what `save_pretrained` writes."""
    return any((folder / name).exists() for name in (PRETRAINED, PRETRAINED_INDEX))


def read_safetensors(file: epath.Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a file by name, bfloat16 too, which `safetensors.numpy` cannot read.

    Raises:
      UserError: when it is not a complete safetensors file.
    """
    from safetensors import SafetensorError, deserialize

    try:
        content = deserialize(file.read_bytes())
    except SafetensorError as e:
        raise UserError(f"{file} is not a complete safetensors file: {e}") from None
    for name, x in content:
        if x["dtype"] not in _DTYPES:
            raise UserError(
                f"{file}: {name} is of the type {x['dtype']}; known are {', '.join(_DTYPES)}"
            )
    return {
        name: np.frombuffer(x["data"], _DTYPES[x["dtype"]]).reshape(x["shape"])
        for name, x in content
    }
