"""Metrics of translation: BLEU, and the share of answers that equal their reference exactly."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# B batch, E examples, T tokens of an answer; a target has T + 1, its begin among them.

SHOWN = 16
"""Examples whose texts are kept beside the score."""

Arrays = Mapping[str, jax.Array]


class Bleu:
    """Corpus BLEU (Papineni et al. 2002) of detokenised texts, by sacreBLEU (Post 2018).

    sacreBLEU runs with its defaults; the results hold its signature and the first examples as
    texts. `outputs` has `tokens` [B, T] and `length` [B]; the data has `source` [B, S] and `target`
    [B, T + 1] with their lengths.
    """

    def __init__(self, text_of: Callable[[Sequence[int]], str]):
        """Takes `text_of`, which detokenises tokens and leaves out special tokens."""
        self._text_of = text_of

    def gathered(self, outputs: Arrays, batch: Arrays) -> dict[str, jax.Array]:
        """Returns each example's answer, source and reference, and their lengths."""
        return {
            "tokens": outputs["tokens"],
            "length": outputs["length"],
            "source": batch["source"],
            "source_length": batch["source_length"],
            "target": batch["target"],
            "target_length": batch["target_length"],
        }

    def results(self, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `bleu` in [0, 100], `bleu_signature`, and `translations` of the first examples.

        Without rows `bleu` is 0 and the others are empty.
        """
        from sacrebleu.metrics import BLEU

        answers = self._texts(rows["tokens"], rows["length"])
        references = self._texts(rows["target"], rows["target_length"])
        metric = BLEU()
        if not answers:
            return {"bleu": 0.0, "bleu_signature": "", "translations": []}
        score = metric.corpus_score(answers, [references]).score
        sources = self._texts(rows["source"][:SHOWN], rows["source_length"][:SHOWN])
        shown = zip(sources, answers, references, strict=False)
        return {
            "bleu": float(score),
            "bleu_signature": str(metric.get_signature()),
            "translations": [
                dict(zip(("source", "answer", "reference"), texts, strict=True)) for texts in shown
            ],
        }

    def _texts(self, tokens_ET: np.ndarray, length_E: np.ndarray) -> list[str]:
        pairs = zip(np.asarray(tokens_ET), np.asarray(length_E), strict=True)
        return [self._text_of(tokens_T[:n].tolist()) for tokens_T, n in pairs]


class SequenceAccuracy:
    """The share of answers that equal their reference in every token, the end included."""

    def sums(self, outputs: Arrays, batch: Arrays) -> dict[str, jax.Array]:
        """Adds up `right` and `examples`: int32 []."""
        target_BT = batch["target"][:, 1:]
        length_B = batch["target_length"] - 1
        counts_BT = jnp.arange(target_BT.shape[1]) < length_B[:, None]
        same_BT = (outputs["tokens"] == target_BT) | ~counts_BT
        right_B = same_BT.all(-1) & (outputs["length"] == length_B)
        counted_B = batch["mask"].astype(jnp.int32)
        return {"right": (right_B * counted_B).sum(), "examples": counted_B.sum()}

    def results(self, sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `sequence_accuracy`."""
        right, examples = int(sums["right"]), int(sums["examples"])
        return {"sequence_accuracy": right / examples if examples else 0.0}
