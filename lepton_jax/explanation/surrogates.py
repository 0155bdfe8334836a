"""LIME and SHAP, by their authors' libraries, over the parts of an input.

Both ask the model for the score of inputs with gaps, and know nothing else of it.
"""

from typing import Any

import numpy as np

from lepton_jax.errors import UserError
from lepton_jax.explanation.parts import InputParts
from lepton_jax.explanation.scores import Gaps
from lepton_jax.installation import format_install

# p parts that an input has, M masks.

SAMPLES = 1024
"""Inputs with gaps that are asked for one explanation, at most."""
KERNEL = 0.25
"""The width of LIME's kernel over cosine distances: the library's own for images."""


def fit_lime(gaps: Gaps, parts: InputParts) -> np.ndarray:
    """Fits a linear model to the scores near the input (Ribeiro et al. 2016): weights `[p]`.

    Raises:
      UserError: when lime is not installed.
    """
    try:
        from lime.lime_base import LimeBase
    except ImportError:
        raise _absent("lime") from None
    count = len(gaps.places)
    kept = np.random.default_rng(0).random((SAMPLES, count)) < 0.5
    kept[0] = True
    # The cosine between a mask and the mask that keeps all.
    distances = 1 - np.sqrt(kept.mean(-1))
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / KERNEL**2)), random_state=0)
    found = base.explain_instance_with_data(
        kept.astype(np.float64), gaps.scores(kept)[:, None], distances, 0, count,
        feature_selection="none",
    )  # fmt: skip
    weights = np.zeros(count)
    for part, weight in found[1]:
        weights[part] = weight
    return weights


def fit_shap(gaps: Gaps, parts: InputParts) -> np.ndarray:
    """Estimates the Shapley values of the parts by Kernel SHAP (Lundberg & Lee 2017): `[p]`.

    Raises:
      UserError: when shap is not installed.
    """
    try:
        import shap
    except ImportError:
        raise _absent("shap") from None
    count = len(gaps.places)

    def scores(kept: Any) -> np.ndarray:
        return gaps.scores(np.asarray(kept) > 0.5)

    # The library draws from NumPy's one generator of the process.
    before = np.random.get_state()
    np.random.seed(0)
    try:
        explainer = shap.KernelExplainer(scores, np.zeros((1, count)), silent=True)
        values = explainer.shap_values(
            np.ones((1, count)), nsamples=SAMPLES, l1_reg=False, silent=True
        )
    finally:
        np.random.set_state(before)
    return np.asarray(values, np.float64).reshape(count)


def _absent(package: str) -> UserError:
    return UserError(f"--method={package}: {package} is not installed; {format_install('explain')}")
