"""Explanations by what is lost where parts of an input are taken away: occlusion and ablation."""

import numpy as np

from lepton_jax.explanation.parts import InputParts
from lepton_jax.explanation.scores import Gaps

# P parts, p parts that an input has, M masks.

WINDOW = {1: 3, 2: 2}
"""Parts on a side of the window of an occlusion, by the number of axes of the input."""


def ablate_parts(gaps: Gaps, parts: InputParts) -> np.ndarray:
    """Takes away one part at a time. Returns how much the score falls without each, `[p]`."""
    kept = ~np.eye(len(gaps.places), dtype=bool)
    scores = gaps.scores(np.concatenate([np.ones_like(kept[:1]), kept]))
    return scores[0] - scores[1:]


def occlude_parts(gaps: Gaps, parts: InputParts) -> np.ndarray:
    """Moves a window over the input that covers several parts (Zeiler & Fergus 2014).

    What the score falls by is divided evenly among the parts below the window. Returns the mean
    `[p]` over all windows that cover a part; those at the edge cover fewer.
    """
    grid = parts.grid
    side = WINDOW[len(grid)]
    where = np.indices(grid).reshape(len(grid), -1)[:, gaps.places]
    starts = np.indices([size + side - 1 for size in grid]).reshape(len(grid), -1) - (side - 1)
    offsets = where[:, None] - starts[:, :, None]
    covered = np.all((offsets >= 0) & (offsets < side), axis=0)
    covered = covered[np.any(covered, axis=-1)]
    scores = gaps.scores(np.concatenate([np.ones_like(covered[:1]), ~covered]))
    share = (scores[0] - scores[1:]) / covered.sum(-1)
    return share @ covered / covered.sum(0)
