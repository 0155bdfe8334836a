"""Metrics of classification and of tokens: accuracy, F1, top-k, perplexity, bits per character.

They are sums over examples (`metric.SummedMetric`). Unless a metric says otherwise, `outputs` has
`probabilities` `[B, K]` and `label` int32 `[B]`, and `batch['label']` is int32 `[B]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.errors import UserError

# B batch, K classes; matrices are [true class, predicted class].

Arrays = Mapping[str, jax.Array]


class ClassificationMetrics:
    """Accuracy, precision, recall and F1, over all and per class, and the confusion matrix.

    precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN); each is 0
    where its denominator is. The overall ones are macro averages: unweighted means over the classes
    that occur as a label or as a prediction.
    """

    def __init__(self, classes: Sequence[str]):
        self._classes = tuple(classes)

    def sums(self, outputs: Arrays, batch: Arrays) -> dict[str, jax.Array]:
        """Adds up `confusion`: int32 `[K, K]`, [true class, predicted class]."""
        K = len(self._classes)
        counted_B = batch["mask"].astype(jnp.int32)
        confusion_KK = jnp.zeros((K, K), jnp.int32)
        return {"confusion": confusion_KK.at[batch["label"], outputs["label"]].add(counted_B)}

    def results(self, sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `accuracy`, `precision`, `recall`, `f1`; `per_class`, dicts; `confusion`."""
        confusion_KK = np.asarray(sums["confusion"]).astype(np.int64)
        hits_K, true_K = confusion_KK.diagonal(), confusion_KK.sum(1)
        answered_K = confusion_KK.sum(0)
        per_class = {
            "precision": _ratio(hits_K, answered_K),
            "recall": _ratio(hits_K, true_K),
            "f1": _ratio(2 * hits_K, true_K + answered_K),
        }
        occurs_K = true_K + answered_K > 0
        return {
            "accuracy": float(_ratio(hits_K.sum(), confusion_KK.sum())),
            **{name: float(_ratio(v.sum(), occurs_K.sum())) for name, v in per_class.items()},
            "per_class": [
                {
                    "name": name,
                    "examples": int(true_K[k]),
                    **{metric: float(values[k]) for metric, values in per_class.items()},
                }
                for k, name in enumerate(self._classes)
            ],
            "confusion": confusion_KK.tolist(),
        }


class TopK:
    """Top-k accuracy: the share of examples whose class is among the `k` most probable.

    Of equally probable classes the lower index counts first.

    Keys:
      k: how many of the most probable classes count.

    Raises:
      UserError: when there are at most `k` classes, so that the accuracy would be 1.
    """

    def __init__(self, classes: Sequence[str], *, k: PositiveInt = 5):
        if not classes:
            raise UserError("metric top_k needs classes, and the data has none")
        if k >= len(classes):
            raise UserError(
                f"metric top_k, k = {k}: the data has {len(classes)} classes, so every answer "
                f"would be right. Give a k below {len(classes)}"
            )
        self._k = k

    def sums(self, outputs: Arrays, batch: Arrays) -> dict[str, jax.Array]:
        """Adds up `hits` and `examples`: int32 `[]`."""
        _, best_Bk = jax.lax.top_k(outputs["probabilities"], self._k)
        hit_B = (best_Bk == batch["label"][:, None]).any(-1)
        counted_B = batch["mask"].astype(jnp.int32)
        return {"hits": (hit_B * counted_B).sum(), "examples": counted_B.sum()}

    def results(self, sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `top_5_accuracy`, for k = 5."""
        return {f"top_{self._k}_accuracy": float(_ratio(sums["hits"], sums["examples"]))}


class Perplexity:
    """Perplexity, exp(nats per token), and bits per token, over all tokens of a split.

    `outputs` has `nats` `[B]`, a sequence's summed cross-entropy, and `counted` `[B]`, the number
    of tokens in the sum.
    """

    def __init__(self, classes: Sequence[str]):
        pass

    def sums(self, outputs: Arrays, batch: Arrays) -> dict[str, jax.Array]:
        """Adds up `nats` and `tokens`: `[]`."""
        mask_B = batch["mask"].astype(outputs["nats"].dtype)
        return {
            "nats": (outputs["nats"] * mask_B).sum(),
            "tokens": (outputs["counted"] * mask_B).sum(),
        }

    def results(self, sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `perplexity`, infinite where a float overflows, and `bits_per_token`; NaN of no
        token.
        """
        nats = float(_ratio(sums["nats"], sums["tokens"])) if sums["tokens"] else float("nan")
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(np.float64(nats)))
        return {"perplexity": perplexity, "bits_per_token": nats / float(np.log(2))}


class BitsPerCharacter:
    """Bits per character over all characters of a split, independent of the tokenizer.

    `outputs` has `nats` `[B]`; `batch` has `characters` int32 `[B]`, the number of characters of
    the tokens, which data.encode's `stream` adds.
    """

    def __init__(self, classes: Sequence[str]):
        pass

    def sums(self, outputs: Arrays, batch: Arrays) -> dict[str, jax.Array]:
        """Adds up `nats` and `characters`: `[]`.

        Raises:
          UserError: when the data has no field `characters`.
        """
        if "characters" not in batch:
            raise UserError(
                "metric bits_per_character: the data has no field 'characters'; "
                "data.encode.name = 'stream' gives it"
            )
        mask_B = batch["mask"].astype(outputs["nats"].dtype)
        return {
            "nats": (outputs["nats"] * mask_B).sum(),
            "characters": (batch["characters"] * mask_B).sum(),
        }

    def results(self, sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `bits_per_character`; NaN of no character."""
        bits = _ratio(sums["nats"], sums["characters"]) / np.log(2)
        return {"bits_per_character": float(bits) if sums["characters"] else float("nan")}


def _ratio(part: Any, total: Any) -> np.ndarray:
    """Returns part / total, and 0 where total is 0."""
    part, total = np.asarray(part, np.float64), np.asarray(total, np.float64)
    return np.divide(part, total, out=np.zeros_like(part), where=total != 0)
