"""Pieces of HTML that notebooks show. Everything is inside the text: no script, no other file."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_LEAST, _MOST = 96, 256
"""Pixels of the height of an image; a smaller one is enlarged without smoothing."""


def format_rows(rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> str:
    """Returns a table: a line a row, the first cell as its head."""
    lines = ["<tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in head) + "</tr>"] if head else []
    for first, *others in rows:
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in others)
        lines.append(f"<tr><th style='text-align:left'>{_text(first)}</th>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def format_picture(png: bytes, caption: str, width: str) -> str:
    """Returns a picture with its caption below it. `width`: at most, '48%' of the page."""
    return format_block(_image(png, "max-width:100%"), [caption], f"max-width:{width}")


def format_image(image_HWC: "np.ndarray", caption: Sequence[str] = ()) -> str:
    """Returns an image uint8 [H, W, C], C = 1 or 3, with the lines of a caption below it."""
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image_HWC[..., 0] if image_HWC.shape[-1] == 1 else image_HWC[..., :3]
    Image.fromarray(pixels).save(buffer, "PNG")
    height = min(max(_LEAST, len(image_HWC)), _MOST)
    style = f"height:{height}px;image-rendering:pixelated"
    return format_block(_image(buffer.getvalue(), style), caption)


def format_block(inside: str, caption: Sequence[str] = (), style: str = "") -> str:
    """Returns a block that stands beside others, with the lines of a caption below it."""
    said = "".join(f"<br>{_text(line)}" for line in caption)
    style = f"display:inline-block;margin:4px;vertical-align:top;font-size:small;{style}"
    return f"<div style='{style}'>{inside}{said}</div>"


def format_lines(lines: Iterable[str]) -> str:
    """Returns lines of text as they are."""
    return f"<pre>{_text(chr(10).join(lines))}</pre>"


def format_title(text: str) -> str:
    """Returns a line in bold."""
    return f"<b>{_text(text)}</b>"


def _image(png: bytes, style: str) -> str:
    data = base64.b64encode(png).decode()
    return f"<img src='data:image/png;base64,{data}' style='{style}'>"


def _text(value: Any) -> str:
    return html.escape(str(value))
