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
    "I64": np.int64, "I32": np.int32, "U8": np.uint8, "BOOL": np.bool_,
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
    return {
        name: np.frombuffer(x["data"], _DTYPES[x["dtype"]]).reshape(x["shape"])
        for name, x in content
    }
