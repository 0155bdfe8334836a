"""MNIST-1D: ten digits as short noisy signals, which are made here and not downloaded.

After: Greydanus (2020), Scaling down deep learning, and Greydanus & Kobak (2024, ICML), with the
constants and the seed of the data set that they published. All numbers are drawn in their order, so
that the examples are theirs.
"""

import hashlib

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Columns, Source
from lepton_jax.errors import UserError

DECIMALS = 6
"""Decimals that are kept: the last bits differ between processors. The noise is 2e-2."""

TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
"""The authors' drawing of each digit: the height of a line at 12 positions."""

SEED = 42
TRAIN_SHARE = 0.8
POSITIONS = 40
PADDING = (36, 60)
"""The fewest and the most blank positions that follow a drawing."""

LENGTH = len(TEMPLATES[0]) + PADDING[1]
"""Positions to which a drawing and its blanks are stretched."""

SHIFTS = 48
SCALE, SHEAR = 0.4, 0.75
SMOOTH_NOISE, SMOOTH_WIDTH, WHITE_NOISE = 0.25, 2, 2e-2
BLANK = 1e-8
"""Is added to a drawing, so that no point of it is 0, by which blanks are known."""


def mnist1d(*, shuffled: bool = False, examples: PositiveInt = 5000) -> Source:
    """Makes `signal` float32 [40], of mean 0 and variance 1 over the set, and `label` int32.

    Four of five examples are for training, as the authors divide them.

    Keys:
      shuffled: whether one fixed permutation of the 40 positions, the same for every example, takes
        the shape away and leaves the information.
      examples: the examples of all splits together, a tenth of each class.

    Raises:
      UserError: for fewer than 10 examples.
    """
    if examples < len(TEMPLATES):
        raise UserError(f"mnist1d: examples = {examples}: expected at least 10, one of each class")
    signals, labels = make_signals(shuffled, examples)
    signals = np.round(signals, DECIMALS).astype(np.float32)
    end = int(len(labels) * TRAIN_SHARE)
    splits = {
        "train": {"signal": signals[:end], "label": labels[:end]},
        "test": {"signal": signals[end:], "label": labels[end:]},
    }
    digest = hashlib.sha256()
    for fields in splits.values():
        for array in fields.values():
            digest.update(array.tobytes())
    return Source(
        splits={name: Columns(fields) for name, fields in splits.items()},
        classes=tuple("0123456789"),
        fingerprint=digest.hexdigest(),
        description="MNIST-1D" + (", positions shuffled" if shuffled else ""),
    )


def make_signals(shuffled: bool, examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns signals float64 [N, 40] and labels int32 [N] in a random order, N // 10 a class."""
    draw = np.random.RandomState(SEED)  # the authors' generator
    labels = np.repeat(np.arange(10, dtype=np.int32), examples // len(TEMPLATES))
    templates = _normalize_templates()
    signals = np.stack([_deform_template(templates[label], draw) for label in labels])
    order = draw.permutation(len(labels))
    signals, labels = signals[order], labels[order]
    if shuffled:
        signals = signals[:, draw.permutation(POSITIONS)]
    return (signals - signals.mean()) / signals.std(), labels


def _normalize_templates() -> np.ndarray:
    """Returns the drawings float64 [10, 12], of one spread each, beginning and ending at 0."""
    heights = np.asarray(TEMPLATES)
    heights = heights - heights.mean(1, keepdims=True)
    heights /= heights.std(1, keepdims=True)
    return (heights - heights[:, :1]) / 6


def _deform_template(template: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """Makes an example [40] of a drawing [12]: followed by blanks, stretched, scaled, shifted and
    sheared, with smooth noise in the blanks and white noise everywhere.
    """
    from scipy.ndimage import gaussian_filter1d

    fewest, most = PADDING
    blanks = fewest + int(draw.rand() * (most - fewest + 1))
    line = _resample(np.pad(template + BLANK, (0, blanks)), LENGTH)
    line = line * (1 + SCALE * (draw.rand() - 0.5))
    line = np.roll(line, draw.choice(SHIFTS))
    smooth = gaussian_filter1d(SMOOTH_NOISE * draw.randn(LENGTH), SMOOTH_WIDTH)
    line = np.where(line != 0, line, smooth) + WHITE_NOISE * draw.randn(LENGTH)
    slope = SHEAR * (draw.rand() - 0.5)
    return _resample(line - slope * np.linspace(-0.5, 0.5, LENGTH), POSITIONS)


def _resample(line: np.ndarray, positions: int) -> np.ndarray:
    """Returns the line at so many positions, interpolated linearly."""
    return np.interp(np.linspace(0, 1, positions), np.linspace(0, 1, len(line)), line)
