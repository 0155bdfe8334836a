"""Image files, or the bytes of one, as pixels."""

import io
import os

import numpy as np

from lepton_jax.errors import UserError


def read_image(image: str | os.PathLike[str] | bytes, name: str) -> np.ndarray:
    """Pixels uint8 [H, W, 1] where the image is grey, else [H, W, 3]; transparency is dropped.

    Raises:
      UserError: naming it, when it is no image, truncated, or has 16 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            if opened.mode.startswith(("I", "F")):
                raise UserError(f"{name}: {opened.mode!r} pixels; expected 8 bits a channel")
            grey = opened.mode in ("1", "L", "LA")
            pixels = np.asarray(opened.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise UserError(f"{name}: not a readable image: {e}") from None
    return pixels[..., None] if grey else pixels
