"""Readers who do not tell red from green still tell the colours of a picture apart.

Their sight is simulated as Machado, Oliveira & Fernandes (2009) do, at full severity; distances are
of CIELAB (1976), in which about 2.3 can just be told.
"""

from itertools import combinations

import numpy as np
import pytest

from lepton_jax.plots import palette

LEAST = 18.0
SIGHTS = {
    "usual": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
TOGETHER = {
    "variants": (palette.INK, *palette.COLOURS),
    "variants, dark": (palette.DARK_INK, *palette.DARK_COLOURS),
    "splits": (*palette.SPLITS.values(), *palette.OTHER_SPLITS),
    "answers": (palette.RIGHT, palette.WRONG),
}


def linear(colours: tuple[str, ...]) -> np.ndarray:
    """Linear RGB `[N, 3]`."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB `[N, 3]` of linear RGB, under D65."""
    t = (np.clip(rgb, 0, 1) @ TO_XYZ.T) / TO_XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, *(np.diff(-f).T * [[500], [200]])], axis=-1)


def test_cielab_is_that_of_a_published_table():
    # Lindbloom's calculator, D65: sRGB (162, 54, 0) and pure red.
    np.testing.assert_allclose(lab(linear(("#ff0000",)))[0], [53.2408, 80.0925, 67.2032], atol=1e-2)
    np.testing.assert_allclose(lab(linear(("#ffffff",)))[0], [100, 0, 0], atol=1e-2)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("group", TOGETHER)
def test_any_two_colours_of_a_picture_can_be_told_apart(sight, group):
    colours = TOGETHER[group]
    seen = lab(linear(colours) @ np.array(SIGHTS[sight]).T)
    near = {
        (colours[i], colours[j]): round(float(np.linalg.norm(seen[i] - seen[j])), 1)
        for i, j in combinations(range(len(colours)), 2)
        if np.linalg.norm(seen[i] - seen[j]) < LEAST
    }
    assert not near


@pytest.mark.parametrize(
    ("colours", "ground"),
    [(palette.COLOURS, "#fbfaf6"), (palette.DARK_COLOURS, "#15171a")],
    ids=["light", "dark"],
)
def test_lines_stand_out_from_the_page(colours, ground):
    """WCAG's contrast of 3 for what is no text, and of 4.5 for the two of verdicts in words."""
    light = linear((*colours, ground)) @ TO_XYZ[1]
    high, low = np.maximum(light[:-1], light[-1]), np.minimum(light[:-1], light[-1])
    contrast = (high + 0.05) / (low + 0.05)
    assert contrast.min() >= 3
    assert contrast[:2].min() >= 4.5
