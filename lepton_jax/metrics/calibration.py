"""Calibration: whether predictions with 80 % confidence are right in 80 % of cases."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.metrics.classification import Arrays

# B batch, K classes, M bins.


class Calibration:
    """Expected calibration error (Guo et al. 2017), in `bins` equal widths of confidence.

    ECE = sum over the bins of (examples in it / all) * |accuracy in it - mean confidence in it|;
    bin m holds the confidences in ((m - 1) / M, m / M].

    Keys:
      bins: the number of bins of confidence, M.
    """

    def __init__(self, classes: Sequence[str], *, bins: PositiveInt = 15):
        self._bins = bins

    def sums(self, outputs: Arrays, batch: Arrays) -> dict[str, jax.Array]:
        """Adds up `examples`, `hits` and `confidence` in each bin, `[M]` each."""
        sure_B = outputs["probabilities"].max(-1)
        bin_B = jnp.clip(jnp.ceil(sure_B * self._bins).astype(jnp.int32) - 1, 0, self._bins - 1)
        mask_B = batch["mask"].astype(sure_B.dtype)
        hit_B = (outputs["label"] == batch["label"]).astype(sure_B.dtype)
        empty_M = jnp.zeros(self._bins, sure_B.dtype)
        return {
            "examples": empty_M.at[bin_B].add(mask_B),
            "hits": empty_M.at[bin_B].add(hit_B * mask_B),
            "confidence": empty_M.at[bin_B].add(sure_B * mask_B),
        }

    def results(self, sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `ece`, and `calibration`: each bin's examples, accuracy and mean confidence."""
        count_M, hits_M, sure_M = (
            np.asarray(sums[k], np.float64) for k in ("examples", "hits", "confidence")
        )
        filled_M = np.maximum(count_M, 1)
        return {
            "ece": float(np.abs(hits_M - sure_M).sum() / (count_M.sum() or np.nan)),
            "calibration": [
                {"examples": int(n), "accuracy": float(h), "confidence": float(c)}
                for n, h, c in zip(count_M, hits_M / filled_M, sure_M / filled_M, strict=True)
            ],
        }
