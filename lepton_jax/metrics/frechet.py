"""The Frechet distance between generated images and real ones, in the features of a classifier.

After Heusel et al. 2017, with a classifier that was trained here in place of Inception: distances
in the features of different classifiers do not compare, so each says which one it was.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

# B batch, H height, W width, C channels, D features.


class ImageFeatures(Protocol):
    """What a trained image classifier sees in an image."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Names the classifier: the fingerprint of its config and the digest of its weights."""
        ...

    def __call__(self, image_BHWC: jax.Array) -> jax.Array:
        """Computes float32 [B, D] of raw images; traced."""
        ...


class Frechet:
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)), of means m, n and covariances A, B of the features.

    Generated are the images of the first `samples` seeds of a split; real are all of the split's.
    """

    def __init__(self, features: ImageFeatures, samples: int):
        self._features = features
        self._samples = samples

    def sums(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
        """Adds up `real` and `generated` images: of each `count` [], `sum` [D] of the features and
        `outer` [D, D] of their products.
        """
        mask_B = batch["mask"].astype(jnp.float32)
        drawn_B = mask_B * (batch["seed"] < self._samples)
        return {
            "real": self._moments(batch["image"], mask_B),
            "generated": self._moments(outputs["image"], drawn_B),
        }

    def results(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `frechet`, and `frechet_of`: how many images of each kind, and the classifier."""
        real, generated = (_gaussian(sums[kind]) for kind in ("real", "generated"))
        return {
            "frechet": frechet_distance(*real, *generated),
            "frechet_of": {
                "real": int(sums["real"]["count"]),
                "generated": int(sums["generated"]["count"]),
                "classifier": self._features.identity,
            },
        }

    def _moments(self, image_BHWC: jax.Array, weight_B: jax.Array) -> dict[str, jax.Array]:
        x_BD = self._features(image_BHWC)
        weighted_BD = weight_B[:, None] * x_BD
        outer_DD = jnp.matmul(weighted_BD.T, x_BD, precision="highest")
        return {"count": weight_B.sum(), "sum": weighted_BD.sum(0), "outer": outer_DD}


def frechet_distance(
    mean_D: np.ndarray, cov_DD: np.ndarray, other_D: np.ndarray, other_DD: np.ndarray
) -> float:
    """Returns the squared distance of two Gaussians (Dowson & Landau 1982)."""
    # tr((A B)^(1/2)) by A^(1/2) B A^(1/2), which is symmetric: real also where A is singular.
    values, vectors = np.linalg.eigh(cov_DD)
    root_DD = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    crossed = np.linalg.eigvalsh(root_DD @ other_DD @ root_DD)
    trace = np.trace(cov_DD) + np.trace(other_DD) - 2 * np.sqrt(np.maximum(crossed, 0)).sum()
    return float(np.square(mean_D - other_D).sum() + trace)


def _gaussian(sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean [D] and the unbiased covariance [D, D] of what `sums` added up."""
    count = max(float(sums["count"]), 2.0)
    mean_D = sums["sum"] / count
    return mean_D, (sums["outer"] - count * np.outer(mean_D, mean_D)) / (count - 1)
