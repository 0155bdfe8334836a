"""Figures as PNG files, and the words in them: their fonts, and how much of them fits.

Imports matplotlib where something is drawn: a run that draws nothing does not wait for it.
"""

import io
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lepton_jax.io import files
from lepton_jax.io.files import Path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 140
"""Pixels an inch."""
LEFT_TO_RIGHT = "\u200e"
"""The mark that keeps words in their order beside a name that is written from right to left."""
_FURTHER_FONTS = (
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Arial Unicode MS",
)
"""Fonts of systems for letters that matplotlib's own font lacks."""


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure as a PNG file.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    files.write_bytes(path, render_figure(figure))


def render_figure(figure: "Figure") -> bytes:
    """Renders a figure as a PNG, `DPI` pixels an inch."""
    buffer = io.BytesIO()
    # Without matplotlib's version in it the same record gives the same file for longer.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@cache
def find_fonts() -> tuple[str, ...]:
    """Returns the names of the installed fonts that words are drawn with, the first one first."""
    from matplotlib import font_manager

    installed = set(font_manager.fontManager.get_font_names())
    return ("DejaVu Sans", *(name for name in _FURTHER_FONTS if name in installed))


def can_draw(text: str) -> bool:
    """Tells whether the fonts have every letter of a text."""
    return all(_has_letter(letter) for letter in text if not letter.isspace())


@cache
def _has_letter(letter: str) -> bool:
    from matplotlib import font_manager

    found = (font_manager.findfont(name) for name in find_fonts())
    return any(font_manager.get_font(path).get_char_index(ord(letter)) for path in found)


def name_classes(classes: Sequence[str]) -> list[str]:
    """Returns names that can be drawn: 'class 3' of a name with letters that no font has."""
    return [
        name if can_draw(name) and name.strip() else f"class {i}" for i, name in enumerate(classes)
    ]


def measure_text(text: str, points: float, weight: str = "normal") -> float:
    """Returns the width in inches of a line of text in letters of so many points."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(family=list(find_fonts()), size=points, weight=weight)
    width, _, _ = _renderer().get_text_width_height_descent(text, font, False)
    return width / 72


@cache
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, 72)


def fit_text(text: str, inches: float, points: float) -> str:
    """Cuts the middle out of a line of text that is longer than so many inches."""
    text = " ".join(text.split())
    if measure_text(text, points) <= inches:
        return text
    kept = len(text) - 1
    while kept > 1 and measure_text(cut_middle(text, kept), points) > inches:
        kept -= 1
    return cut_middle(text, kept)


def cut_middle(text: str, most: int) -> str:
    """Returns a text of `most` characters: its beginning and its end, with '…' between."""
    if len(text) <= most:
        return text
    end = (most - 1) * 2 // 5
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"
