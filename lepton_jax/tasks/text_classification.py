"""Classification of texts, and of pairs of them."""

from lepton_jax.config.schema import Rate
from lepton_jax.data.spec import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.models.model import Model
from lepton_jax.nn.batch import Batch, Sums
from lepton_jax.nn.rng import Noise
from lepton_jax.tasks.classification import Classification, Logits
from lepton_jax.tasks.logits import read_logits
from lepton_jax.tasks.texts import count_cut, count_padding, select_text

# B batch, T tokens, K classes.


class TextClassification(Classification):
    """Classifies texts, and pairs of texts.

    Fields: `tokens` int32 [B, T], `length` int32 [B], of pairs `kinds` int32 [B, T], and `label`
    int32 [B].

    The model, built for `input_shape` (T, V) and K classes, is called with a `TokenBatch`.

    Raises:
      UserError: when the data has no such fields, no vocabulary, or fewer than two classes.
    """

    field = "tokens"
    axes = (1,)

    def __init__(self, spec: DataSpec, *, label_smoothing: Rate = 0.0):
        """Checks the data.

        Keys:
          label_smoothing: the probability that training spreads evenly over all classes (Szegedy et
            al. 2016).
        """
        super().__init__(spec, label_smoothing=label_smoothing)
        if spec.vocabulary is None or "length" not in spec.fields:
            raise UserError(
                "text classification needs tokens with a vocabulary and a field 'length'; "
                "data.tokenizer and data.encode = {'name': 'text', ...} make them of texts"
            )
        self.input_fields = ("tokens", "length", *(("kinds",) if "kinds" in spec.fields else ()))
        self.input_shape = (*self.input_shape, len(spec.vocabulary))

    def loss(self, model: Model, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up as every classification does; beside it the share of positions that are padding,
        and of texts that were cut.
        """
        return {
            **super().loss(model, batch, noise),
            **count_padding(batch["mask"], select_text(batch)),
            **count_cut(batch),
        }

    def logits(self, model: Model, batch: Batch, noise: Noise | None) -> Logits:
        """Calls the model on the text of the batch. Returns logits [B, K]."""
        logits = model(select_text(batch), noise)
        return read_logits(model, logits, (batch["tokens"].shape[0], self.outputs), self), []
