"""How an image file, or the bytes of one, becomes pixels."""

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lepton_jax.data.account import note_decoding
from lepton_jax.errors import UserError, describe_error

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""

# Pillow's `Image.Transpose` by EXIF orientation, as serving/images.py has it.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}

_SUFFIXES = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
    *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)

# Formats that a file of any other suffix may have. Pillow knows more, some of which only name what
# other programs can read.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def is_image(path: str | os.PathLike[str]) -> bool:
    """Tells whether a file is to be read as an image: by its suffix, else by its first bytes."""
    if os.path.splitext(path)[1].lower() in _SUFFIXES:
        return True
    from PIL import Image

    try:
        with Image.open(path, formats=_FORMATS):
            return True
    except Exception:  # noqa: BLE001  Pillow's readers raise anything on what is no image
        return False


def read_image(image: str | os.PathLike[str] | bytes, name: str) -> np.ndarray:
    """Reads an image file, or the bytes of one, as pixels uint8: [H, W, 1] where the image is grey,
    else [H, W, 3]. It is turned upright, as its EXIF orientation says. Transparency is dropped, of
    an animation the first frame is read, and the account of what is decoded tells so.

    Raises:
      UserError: naming it, when it is no image, truncated, or has 16 bits a channel.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            if opened.mode.startswith(("I", "F")):
                raise UserError(f"{name}: {opened.mode!r} pixels; expected 8 bits a channel")
            grey = opened.mode in ("1", "L", "LA")
            pixels, conversions = _upright_pixels(opened, "L" if grey else "RGB")
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError:
        size = len(image) if isinstance(image, bytes) else os.path.getsize(image)
        why = "its bytes are of no format that Pillow reads" if size else "it is empty"
        raise UserError(f"{name}: not a readable image: {why}") from None
    except Exception as e:  # noqa: BLE001  Pillow's readers raise anything on damaged files
        raise UserError(f"{name}: not a readable image: {describe_error(e)}") from None
    for what in conversions:
        note_decoding(what, name)
    return pixels[..., None] if grey else pixels


def _upright_pixels(opened: "Image", mode: str) -> tuple[np.ndarray, list[str]]:
    """Returns the pixels of an opened file in a mode, and what was converted, in words."""
    from PIL.Image import Transpose

    conversions = list(_conversions(opened))
    picture = opened.convert(mode)
    try:
        turn = _TURNS.get(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  damaged EXIF says nothing
        turn = None
    if turn is not None:
        picture = picture.transpose(Transpose(turn))
        conversions.append("images turned upright, as EXIF says")
    return np.asarray(picture), conversions


def _conversions(opened: "Image") -> Iterator[str]:
    if opened.format != "MPO" and getattr(opened, "is_animated", False):
        yield "images of several frames, of which the first is read"
    if any("16" in str(tile) for tile in getattr(opened, "tile", ())):
        yield "images of 16 bits a channel, reduced to 8"
    if opened.mode == "CMYK":
        yield "images of CMYK colours, made RGB"
    has_alpha = opened.mode in ("LA", "PA", "RGBA") or "transparency" in opened.info
    if has_alpha and opened.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        yield "images with transparency, which is dropped"
