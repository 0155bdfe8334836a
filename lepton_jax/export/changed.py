"""Draws the examples that two bundles answer otherwise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lepton_jax.errors import UserError
from lepton_jax.evaluation.changed import ChangedExample
from lepton_jax.export.heldout import HeldOut, load_test_set
from lepton_jax.plots.grids import Tile, draw_captioned_grid
from lepton_jax.plots.palette import RIGHT, WRONG

DRAWN = 48
"""Examples that are drawn, at most."""


def draw_changed(folder: Path, changed: Sequence[ChangedExample], title: str, out: str) -> None:
    """Draws examples of the `test` of the bundle in a folder as a PNG file.

    Raises:
      UserError: when there are none, or they are no images, or the data is not at hand.
    """
    if not changed:
        raise UserError(f"--out={out}: no example that both keep is answered otherwise")
    test = load_test_set(folder, None)
    if not isinstance(test, HeldOut):
        raise UserError(f"--out={out}: the examples cannot be drawn: the test data is {test}")
    images = next((x for x in test.inputs.values() if x.ndim == 4 and x.dtype == np.uint8), None)
    if images is None:
        raise UserError(f"--out={out}: only images are drawn, and the inputs are none")
    tiles = [
        Tile(
            images[c.example],
            f"{c.first} -> {c.second}\ntrue {c.label}, no. {c.example}",
            RIGHT if c.second == c.label else WRONG,
        )
        for c in changed[:DRAWN]
    ]
    draw_captioned_grid(tiles, 8, out, title=title)
