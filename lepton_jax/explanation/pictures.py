"""Pictures of explanations: maps laid over images, and the curves of the checks."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.explanation.explained import ExplainedInputs
from lepton_jax.explanation.faithfulness import STEPS, Checks
from lepton_jax.explanation.methods import METHODS
from lepton_jax.plots.figures import find_fonts, fit_text, measure_text
from lepton_jax.plots.grids import Tile
from lepton_jax.plots.palette import BLUE, GREY, INK, RUST, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# H height, W width, C channels.

FAINT = 0.25
"""How much of an image shows below what is laid over it."""
COLUMNS = 4
"""Panels side by side."""
_LETTERS, _LINE, _NAMES, _LONGEST = 8, 0.24, 1.7, 1.6
"""Points of letters of texts, and inches: of a line, beside it, of the longest token."""


def scale_map(values: np.ndarray) -> np.ndarray:
    """Scales the numbers of one map to -1 to 1, of which few larger ones are cut off."""
    most = np.quantile(np.abs(values), 0.995) or np.abs(values).max()
    return np.clip(values / most, -1, 1) if most else np.zeros_like(values)


def as_pixels(x: np.ndarray) -> np.ndarray:
    """Returns an image uint8 `[H, W, 3]` of an input `[H, W, C]` of any numbers."""
    if x.dtype != np.uint8:
        low, span = float(x.min()), float(np.ptp(x)) or 1.0
        x = np.rint((x - low) / span * 255).astype(np.uint8)
    return x[..., :1].repeat(3, axis=-1) if x.shape[-1] < 3 else x[..., :3]


def lay_over(image_HWC: np.ndarray, map_HW: np.ndarray) -> np.ndarray:
    """Lays a map over an image, uint8 `[H, W, 3]`: blue speaks for the class, rust against it.

    The image is faint and grey below, so that its own colours are not taken for those of the map.
    """
    grey_HW1 = as_pixels(image_HWC).mean(-1, keepdims=True)
    paper = 255 - FAINT * (255 - grey_HW1)
    weight_HW = scale_map(map_HW)
    colour_HW3 = np.where(weight_HW[..., None] >= 0, _rgb(BLUE), _rgb(RUST))
    strength = 0.9 * np.abs(weight_HW)[..., None]
    return np.rint(paper * (1 - strength) + colour_HW3 * strength).astype(np.uint8)


def encode_png(image_HWC: np.ndarray) -> bytes:
    """Returns an image uint8 `[H, W, 3]` as the bytes of a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "PNG")
    return file.getvalue()


def make_tiles(found: ExplainedInputs) -> list[Tile]:
    """Returns a row of images for each input: itself, then what each method says."""
    tiles = []
    for i in range(len(found)):
        tiles.append(Tile(as_pixels(found.inputs[i]), describe_answer(found, i)))
        for name, maps in found.maps.items():
            tiles.append(Tile(lay_over(found.inputs[i], maps[i]), METHODS[name].title))
    return tiles


def describe_answer(found: ExplainedInputs, i: int) -> str:
    """Says what was answered to an input, and what is true where that is another class."""
    said = f"{found.labels[i]} ({found.probabilities[i]:.1%})"
    truth = found.truths[i]
    return f"{said}, true {truth}" if truth and truth != found.labels[i] else said


def compose_tokens(found: ExplainedInputs) -> "Figure":
    """Composes the tokens of each text, a line a method, on grounds as strong as they matter."""
    from matplotlib.figure import Figure

    lines = [(i, name) for i in range(len(found)) for name in ("", *found.maps)]
    rows = [_token_row(found, i, name) for i, name in lines]
    width = max([6.0, *(x + wide for row in rows for _, x, wide, _ in row)]) + 0.2
    high = _LINE * (len(rows) + 1)
    figure = Figure(figsize=(width, high))
    style: dict[str, Any] = dict(size=_LETTERS, family=list(find_fonts()), parse_math=False)
    for k, ((i, name), row) in enumerate(zip(lines, rows, strict=True)):
        up = 1 - (k + 1) * _LINE / high
        if not name:
            figure.text(
                0.1 / width, up, describe_answer(found, i), color=INK, weight="bold", **style
            )
            continue
        figure.text(0.1 / width, up, METHODS[name].title, color=SOFT, **style)
        for word, x, _, weight in row:
            shade = np.rint(255 + 0.6 * abs(weight) * (_rgb(BLUE if weight > 0 else RUST) - 255))
            ground = {"facecolor": shade / 255, "edgecolor": "none", "pad": 1.5}
            figure.text(x / width, up, word, color=INK, bbox=ground, **style)
    return figure


def _token_row(found: ExplainedInputs, i: int, name: str) -> list[tuple[str, float, float, float]]:
    """Returns the tokens of a text with their places and widths in inches, and their weights."""
    if not name:
        return []
    row, x = [], _NAMES
    for word, weight in zip(found.words[i], scale_map(found.maps[name][i]), strict=False):
        if word:
            shown = fit_text(word, _LONGEST, _LETTERS)
            wide = measure_text(shown, _LETTERS)
            row.append((shown, x, wide, float(weight)))
            x += wide + 0.1
    return row


def compose_checks(checks: Checks) -> "Figure":
    """Composes a panel for each method: the probability of the class as parts go and come, and in
    grey the same in random orders.
    """
    from matplotlib.figure import Figure

    names = list(checks.methods)
    rows = -(-len(names) // COLUMNS)
    columns = min(COLUMNS, len(names))
    figure = Figure(figsize=(2.6 * columns + 0.4, 2.2 * rows + 0.5), layout="constrained")
    shares = np.arange(STEPS + 1) / STEPS
    style: dict[str, Any] = dict(family=list(find_fonts()))
    for i, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, i + 1)
        found = checks.methods[name]
        axes.plot(shares, checks.random_insertion, color=GREY, lw=1, ls="--")
        axes.plot(shares, checks.random_deletion, color=GREY, lw=1)
        axes.plot(shares, found.insertion, color=BLUE, lw=1.6, ls="--", label="put in")
        axes.plot(shares, found.deletion, color=RUST, lw=1.6, label="taken away")
        fails = " fails" if found.faults else ""
        axes.set_title(f"{METHODS[name].title}{fails}", size=9, color=INK, loc="left", **style)
        axes.set_ylim(-0.03, 1.03)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7, colors=SOFT)
        if i == 0:
            axes.legend(fontsize=7, frameon=False)
    figure.supxlabel("share of the parts; grey: random orders", size=8, color=SOFT, **style)
    figure.supylabel("probability of the class", size=8, color=SOFT, **style)
    return figure


def _rgb(colour: str) -> np.ndarray:
    return np.asarray([int(colour[i : i + 2], 16) for i in (1, 3, 5)], np.float64)
