"""The decoding of an image file that a signature declares, as training decoded it."""

import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import BundleError, InputError

# Pillow's `Image.Transpose` by EXIF orientation.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def _upright(opened: Any, picture: Any) -> Any:
    """Turns the picture of an opened file upright, as EXIF says; damaged EXIF says nothing."""
    try:
        turn = _TURNS.get(opened.getexif().get(0x0112))
    except Exception:  # noqa: BLE001  what Pillow raises on damaged EXIF
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _resize(picture: Any, height: int, width: int) -> Any:
    from PIL import Image

    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _resize_shorter(picture: Any, size: int) -> Any:
    width, height = picture.size
    shorter = min(width, height)
    return _resize(picture, round(height * size / shorter), round(width * size / shorter))


def _center_crop(picture: Any, height: int, width: int) -> Any:
    if picture.width < width or picture.height < height:
        raise InputError(
            f"the image is {picture.height} x {picture.width}, smaller than the {height} x {width} "
            "that the bundle's decoding crops"
        )
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _mode(picture: Any, mode: str) -> Any:
    return picture if picture.mode == mode else picture.convert(mode)


RESIZE = "bilinear"
"""How `resize` and `resize_shorter` resize: bilinearly, with antialiasing. Signatures name
it as `decoding.resize`; those without it mean it too."""

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for. It knows others, of which one starts a program to read it."""

MOST_PIXELS = 64_000_000
"""Pixels of an image: a small file can have so many that they fill the memory."""

DECODERS: dict[str, Callable[..., Any]] = {
    "center_crop": _center_crop,
    "mode": _mode,
    "resize": _resize,
    "resize_shorter": _resize_shorter,
}
"""The decoding steps that a signature may declare. Other loaders implement these by this table:
bilinear with antialiasing (Pillow's), of the shorter side too, a centred window, and a Pillow mode
('L', 'RGB')."""


def decode_image(image: str | os.PathLike[str] | bytes, steps: Any) -> np.ndarray:
    """Decodes an image file, or its bytes, by the steps of a signature, to uint8 `[H, W, C]`.

    Raises:
      InputError: when it cannot be read as an image.
      BundleError: when a step is none of `DECODERS`, or has other arguments.
    """
    from PIL import Image

    named = "the image" if isinstance(image, bytes) else os.fspath(image)
    source = io.BytesIO(image) if isinstance(image, bytes) else image
    try:
        with Image.open(source, formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise InputError(
                    f"{named} has {opened.width} x {opened.height} pixels, more than "
                    f"{MOST_PIXELS:,} together"
                )
            if opened.mode.startswith(("I", "F")):
                raise InputError(f"{named}: {opened.mode!r} pixels; expected 8 bits a channel")
            picture = opened.convert("L" if opened.mode in ("1", "L", "LA") else "RGB")
            picture = _upright(opened, picture)
    except InputError:
        raise
    except Exception as e:  # noqa: BLE001  Pillow's readers raise anything on damaged files
        reason = getattr(e, "strerror", None) or "not an image that can be decoded"
        raise InputError(f"cannot read {named}: {reason}") from None
    for name, arguments in steps:
        if name not in DECODERS:
            raise BundleError(f"the signature's decoding step {name!r:.60} is unknown here")
        try:
            picture = DECODERS[name](picture, **arguments)
        except InputError:
            raise
        except (TypeError, ValueError, MemoryError) as e:
            raise BundleError(f"the signature's decoding step {name}: {e}") from None
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array
