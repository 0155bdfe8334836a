"""Classification of texts, and of pairs of them."""

from typing import Any

import jax

from lepton_jax.config.schema import Rate
from lepton_jax.data.dataset import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.tasks.classification import Answers, Classification, wide
from lepton_jax.tasks.texts import padding, text_of, was_cut

# B batch, T tokens, K classes.


class TextClassification(Classification):
    """Fields: `tokens` int32 [B, T], `length` int32 [B], of pairs `kinds` int32 [B, T], and `label`
    int32 [B]. The model, built for `input_shape` (T, V) and K classes, is called with a `Text`.

    Raises:
      UserError: when the data has no such fields, no vocabulary, or fewer than two classes.
    """

    field = "tokens"
    axes = (1,)

    def __init__(self, spec: DataSpec, *, label_smoothing: Rate = 0.0):
        super().__init__(spec, label_smoothing=label_smoothing)
        if spec.vocabulary is None or "length" not in spec.fields:
            raise UserError(
                "text classification needs tokens with a vocabulary and a field 'length'; "
                "data.tokenizer and data.encode = {'name': 'text', ...} make them of texts"
            )
        self.input_fields = ("tokens", "length", *(("kinds",) if "kinds" in spec.fields else ()))
        self.input_shape = (*self.input_shape, len(spec.vocabulary))

    def loss(self, model: Any, batch: Any, noise: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        """As of every classification; beside it the share of positions that are padding, and of
        texts that were cut.
        """
        return {
            **super().loss(model, batch, noise),
            **padding(batch["mask"], text_of(batch)),
            **was_cut(batch),
        }

    def _answers(self, model: Any, batch: Any, noise: Any) -> Answers:
        return wide(model(text_of(batch), noise)), []
