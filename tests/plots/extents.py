"""Where the words of a composed figure stand."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


@dataclass(frozen=True)
class Words:
    """The texts of a figure that are drawn."""

    texts: list[str]
    outside: list[str]
    """Those that reach over an edge of the figure by more than a pixel."""
    overlapping: list[tuple[str, str]]
    """Pairs that cover each other by more than a pixel."""

    def __contains__(self, text: str) -> bool:
        return text in self.texts


def read_words(figure: Figure) -> Words:
    """Lays a figure out and reads its words."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    hidden = set(_hidden_labels(figure))
    drawn = [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and text not in hidden
    ]
    texts = [text.get_text() for text in drawn]
    areas = np.array([text.get_window_extent(renderer).extents for text in drawn])
    x0, y0, x1, y1 = areas.reshape(-1, 4).T
    width, height = figure.bbox.size
    outside = (x0 < -1) | (y0 < -1) | (x1 > width + 1) | (y1 > height + 1)
    across = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    along = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    pairs = np.argwhere(np.triu((across > 1) & (along > 1), 1))
    return Words(
        texts,
        [texts[i] for i in np.flatnonzero(outside)],
        [(texts[i], texts[j]) for i, j in pairs],
    )


def _hidden_labels(figure: Figure) -> Iterator[Text]:
    """Yields the labels of ticks that lie beyond the ends of their axis."""
    for axes in figure.axes:
        for inner in (axes, *axes.child_axes):
            for axis in (inner.xaxis, inner.yaxis):
                low, high = sorted(axis.get_view_interval())
                for tick in axis.get_major_ticks():
                    if not low <= tick.get_loc() <= high:
                        yield from (tick.label1, tick.label2)
