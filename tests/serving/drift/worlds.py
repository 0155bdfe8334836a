"""Worlds whose law is known: references and windows are drawn from them."""

import numpy as np

from lepton_jax.serving.drift.reference import Reference

STATISTICS = ("image.one", "image.two", "image.three", "answer.confidence")


def draw(chance: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    """Draws statistics float32 [count, 4]: skewed, with ties, correlated, and a confidence."""
    common = chance.normal(size=count)
    columns = [
        np.exp(common + shift),
        np.round(2 * (common + chance.normal(size=count)) + 2 * shift),
        chance.normal(size=count) * (1 + shift),
        1 / (1 + np.exp(-2 - common)),
    ]
    return np.stack(columns, -1).astype(np.float32)


def classes(chance: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    """Draws classes of which some are rare."""
    share = np.asarray([0.4, 0.3, 0.2, 0.08, 0.02])
    share = share * np.exp(shift * np.arange(5))
    return chance.choice(5, count, p=share / share.sum())


def make_world(chance: np.random.Generator, count: int = 300) -> Reference:
    """Makes a reference of the world that does not shift."""
    values = draw(chance, count)
    correct = chance.random(count) < values[:, 3]
    return Reference(STATISTICS, values, classes(chance, count), correct, 5, {"valid": count})
