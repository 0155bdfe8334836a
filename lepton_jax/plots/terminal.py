"""Pictures for a terminal: small images as blocks of characters, side by side over captions."""

from collections.abc import Sequence

import numpy as np

SHADES = " ░▒▓█"
ASCII_SHADES = " .:*#"
"""For terminals whose encoding has no blocks."""
WIDEST = 32
"""Pixels: larger images are thinned out for the terminal."""
GAP = "   "
"""Between two pictures of a line."""

Picture = tuple[np.ndarray | None, Sequence[str]]
"""An image, uint8 [H, W, 1] or [H, W, 3], or none; and the lines of its caption."""


def draw_gallery(
    pictures: Sequence[Picture], *, color: bool, columns: int, shades: str = SHADES
) -> list[str]:
    """Returns the lines of a gallery: as many pictures side by side as fit into `columns`.

    With `color` two pixels share one half block in 24-bit colours; without it a pixel is two
    characters of `shades`, from dark to bright.
    """
    cells = [[*_image_lines(image, color, shades), *caption] for image, caption in pictures]
    widths = [
        max([len(line) for line in caption] + [_width(image, color)]) for image, caption in pictures
    ]
    lines: list[str] = []
    start = 0
    while start < len(cells):
        stop, used = start + 1, widths[start]
        while stop < len(cells) and used + len(GAP) + widths[stop] <= columns:
            used += len(GAP) + widths[stop]
            stop += 1
        tallest = max(map(len, cells[start:stop]))
        for row in range(tallest):
            # Pictures of unequal heights stand on one line with their captions.
            parts = [
                _pad(([""] * (tallest - len(cell)) + cell)[row], width)
                for cell, width in zip(cells[start:stop], widths[start:stop], strict=True)
            ]
            lines.append(GAP.join(parts).rstrip())
        lines.append("")
        start = stop
    return lines


def _image_lines(image: np.ndarray | None, color: bool, shades: str) -> list[str]:
    if image is None:
        return []
    image = _thin_out(image, color)
    if color:
        top_bottom = zip(image[::2], image[1::2], strict=True)
        return [
            "".join(
                f"\x1b[38;2;{_rgb(t)};48;2;{_rgb(b)}m▀" for t, b in zip(top, bottom, strict=True)
            )
            + "\x1b[0m"
            for top, bottom in top_bottom
        ]
    shade = (image.mean(-1) / 256 * len(shades)).astype(int)
    return ["".join(shades[s] * 2 for s in row) for row in shade]


def _thin_out(image: np.ndarray, color: bool) -> np.ndarray:
    """Takes every n-th pixel, so that at most `WIDEST` columns are used.

    A coloured picture also gets an even height, since two rows share a line.
    """
    widest = WIDEST if color else WIDEST // 2
    step = max(1, -(-max(image.shape[:2]) // widest))
    image = image[::step, ::step]
    return np.pad(image, ((0, len(image) % 2), (0, 0), (0, 0))) if color else image


def _width(image: np.ndarray | None, color: bool) -> int:
    if image is None:
        return 0
    return _thin_out(image, color).shape[1] * (1 if color else 2)


def _rgb(pixel: np.ndarray) -> str:
    return ";".join(
        str(int(v)) for v in np.broadcast_to(pixel[:3] if len(pixel) > 2 else pixel[:1], 3)
    )


def _pad(line: str, width: int) -> str:
    """Pads `line` to `width` visible columns; a coloured line is as wide as its blocks."""
    visible = line.count("▀") if "\x1b" in line else len(line)
    return line + " " * (width - visible)
