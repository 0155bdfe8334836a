"""Images side by side: with captions, or packed into a square."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from lepton_jax.io import files
from lepton_jax.io.files import Path
from lepton_jax.plots.figures import DPI, find_fonts, fit_text, measure_text, save_figure
from lepton_jax.plots.palette import INK, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_READABLE = 84
"""Pixels of height from which an image can be made out."""
_CELL, _GAP = 160, 14
"""Pixels of a cell that holds an image, and between cells."""
_WIDEST = 270
"""Pixels of a caption, more of which are cut."""
_WORDS, _LINE = 7.5, 18
"""Points of a caption's letters, and pixels of its line."""
_MOST_PIXELS = 640
"""Pixels of a side of an image, more of which are thinned out."""


@dataclass(frozen=True)
class Tile:
    """An image uint8 `[H, W, C]` with the lines of its caption.

    Of more than three channels the first three are drawn.
    """

    image: np.ndarray
    caption: str = ""
    colour: str = ""
    """Of the caption's first line and of a frame; '': black, and no frame."""


def draw_captioned_grid(
    tiles: Sequence[Tile], columns: int, path: Path, *, title: str = "", heads: Sequence[str] = ()
) -> None:
    """Draws what `compose_captioned_grid` composes.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    save_figure(compose_captioned_grid(tiles, columns, title=title, heads=heads), path)


def compose_captioned_grid(
    tiles: Sequence[Tile], columns: int, *, title: str = "", heads: Sequence[str] = ()
) -> "Figure":
    """Composes `columns` images in a row, each with its caption above.

    Small images are enlarged without smoothing. `heads` stand above the columns.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    images = [_enlarge(_make_coloured(_thin_out(tile.image)), tiles) for tile in tiles]
    captions = [tile.caption.split("\n") if tile.caption else [] for tile in tiles]
    columns = min(columns, len(tiles))
    longest = max((measure_text(words, _WORDS) for lines in captions for words in lines), default=0)
    words_wide = min(_WIDEST, ceil(longest * DPI))
    wide = max([_CELL, words_wide, *(image.shape[1] for image in images)]) + _GAP
    text = _LINE * max(map(len, captions), default=0)
    high = max(image.shape[0] for image in images) + text + _GAP
    top = _GAP + 2 * _LINE * bool(title) + round(1.7 * _LINE) * bool(heads)
    width = wide * columns + _GAP
    if title:
        width = max(width, ceil(measure_text(title, 10) * DPI) + 2 * _GAP)
    height = top + high * ceil(len(tiles) / columns)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write(words: str, x: int, down: int, size: float, colour: str) -> None:
        figure.text(x / width, 1 - down / height, words, size=size, color=colour, va="top",
                    family=list(find_fonts()), parse_math=False)  # fmt: skip

    if title:
        write(title, _GAP, _GAP, 10, INK)
    for column, head in enumerate(heads):
        write(head, _GAP + column * wide, top - round(1.6 * _LINE), 9, INK)
    for i, (tile, image) in enumerate(zip(tiles, images, strict=True)):
        left, down = _GAP + i % columns * wide, top + i // columns * high
        first = down + text - _LINE * len(captions[i])
        for j, words in enumerate(captions[i]):
            fitted = fit_text(words, (wide - _GAP) / DPI, _WORDS)
            colour = (SOFT if j else tile.colour or INK) if tile.colour else INK
            write(fitted, left, first + j * _LINE, _WORDS, colour)
        below = height - down - text - image.shape[0]
        figure.figimage(image, left, below, origin="upper")
        if tile.colour:
            corner = ((left - 2) / width, (below - 2) / height)
            size = ((image.shape[1] + 4) / width, (image.shape[0] + 4) / height)
            frame = Rectangle(corner, *size, fill=False, edgecolor=tile.colour, linewidth=1.6)
            figure.add_artist(frame)
    return figure


def _thin_out(image_HWC: np.ndarray) -> np.ndarray:
    every = -(-max(image_HWC.shape[:2]) // _MOST_PIXELS)
    return image_HWC[::every, ::every]


def _enlarge(image_HWC: np.ndarray, tiles: Sequence[Tile]) -> np.ndarray:
    """Repeats pixels so that the largest of the images fills its cell: all by one factor."""
    largest = max(max(tile.image.shape[:2]) for tile in tiles)
    scale = max(1, _CELL // largest)
    return image_HWC.repeat(scale, axis=0).repeat(scale, axis=1)


def _make_coloured(image_HWC: np.ndarray) -> np.ndarray:
    """Returns uint8 `[H, W, 3]` of an image of 1, 2, 3 or more channels."""
    grey = image_HWC.shape[-1] < 3
    return image_HWC[..., :1].repeat(3, axis=-1) if grey else image_HWC[..., :3]


def draw_image_grid(images_NHWC: np.ndarray, path: Path) -> None:
    """Draws images uint8 `[N, H, W, C]`, C = 1 or 3, row by row in a square, each pixel as it is.

    Small images are enlarged without smoothing.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    from PIL import Image

    N, H, W, C = images_NHWC.shape
    side = ceil(N**0.5)
    grid = np.full((ceil(N / side) * (H + 1) + 1, side * (W + 1) + 1, C), 128, np.uint8)
    for i, image_HWC in enumerate(images_NHWC):
        top, left = i // side * (H + 1) + 1, i % side * (W + 1) + 1
        grid[top : top + H, left : left + W] = image_HWC
    scale = max(1, _READABLE // H)
    grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(grid[..., 0] if C == 1 else grid).save(buffer, "PNG")
    files.write_bytes(path, buffer.getvalue())
