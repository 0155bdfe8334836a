"""Translation, or any text from another: cross-entropy of the target, answers by beam search."""

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import PositiveInt, Rate
from lepton_jax.data.spec import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.metrics.metric import Metric
from lepton_jax.metrics.translation import Bleu, SequenceAccuracy
from lepton_jax.models.model import AlignedModel, PairModel
from lepton_jax.nn import beam_search
from lepton_jax.nn.batch import Batch, Outputs, Sums
from lepton_jax.nn.rng import Noise
from lepton_jax.nn.token_batch import TokenBatch
from lepton_jax.tasks.logits import check_losses, read_logits
from lepton_jax.tasks.texts import count_cut, count_padding, select_text

# B batch, S tokens of a source, T tokens of a target that are guessed, V vocabulary.

FIELDS = {"source": 1, "source_length": 0, "target": 1, "target_length": 0}
"""What an example has, and with how many axes."""


class Translation:
    """Translates texts.

    Fields: `source` int32 [B, S] and `target` int32 [B, T + 1], from its begin to its end, of
    one vocabulary; `source_length` and `target_length` int32 [B] say how many of their tokens
    count: the others are padding, at the end.

    The model is built for `input_shape` ((S, V), (T, V)) and `outputs` V, and called with the
    source as a `TokenBatch`, the first T tokens of the target, and the noise.

    Raises:
      UserError: when the data has no such fields, or its vocabulary no begin and end.
    """

    answer = "text"
    input_fields = ("source", "source_length")

    def __init__(
        self,
        spec: DataSpec,
        *,
        label_smoothing: Rate = 0.0,
        beam: PositiveInt = 4,
        length_penalty: Annotated[float, ">= 0"] = 0.6,
    ):
        """Checks the data.

        Keys:
          label_smoothing: the probability that training spreads evenly over all tokens.
          beam: the number of beginnings that the search keeps; 1 is greedy decoding.
          length_penalty: how much longer texts are preferred, alpha of `beam_search`; 0.0: not at
            all.
        """
        for name, axes in FIELDS.items():
            spec.require("translation", name, axes, "int")
        vocabulary = spec.vocabulary
        if vocabulary is None or vocabulary.begin is None or vocabulary.end is None:
            raise UserError("translation needs data with a vocabulary that has a begin and an end")
        (source,), (target,) = spec.fields["source"].shape, spec.fields["target"].shape
        if target < 2:
            raise UserError(f"translation needs targets of two tokens or more, got {target}")
        self.outputs = len(vocabulary)
        self.input_shape = ((source, self.outputs), (target - 1, self.outputs))
        self._begin, self._end = vocabulary.begin, vocabulary.end
        self._smoothing = label_smoothing
        self._beam = beam
        self._length_penalty = length_penalty
        self._text_of = spec.decode_tokens

    def loss(self, model: PairModel, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up the loss in nats and the tokens guessed, each over the target's tokens.

        The loss is `token_loss`, in training with `label_smoothing`.
        """
        target_BT = batch["target"].astype(jnp.int32)
        wanted_BT = target_BT[:, 1:]
        source = select_text(batch, "source", "source_length")
        logits_BTV = model(source, target_BT[:, :-1], noise)
        logits_BTV = read_logits(model, logits_BTV, (*wanted_BT.shape, self.outputs), self)
        nats_BT = self.token_loss(logits_BTV, wanted_BT, batch)
        check_losses(nats_BT, wanted_BT.shape, self.token_loss)
        if noise is not None:
            even_BT = jax.nn.logsumexp(logits_BTV, axis=-1) - logits_BTV.mean(-1)
            nats_BT = (1 - self._smoothing) * nats_BT + self._smoothing * even_BT
        T = wanted_BT.shape[1]
        counted_BT = jnp.arange(1, T + 1) < batch["target_length"][:, None]
        counted_BT = counted_BT * batch["mask"][:, None].astype(nats_BT.dtype)
        hit_BT = logits_BTV.argmax(-1) == wanted_BT
        weight = counted_BT.sum()
        return {
            "loss": ((nats_BT * counted_BT).sum(), weight),
            "accuracy": ((hit_BT * counted_BT).sum(), weight),
            **count_padding(
                batch["mask"], source, TokenBatch(wanted_BT, batch["target_length"] - 1)
            ),
            **count_cut(batch),
        }

    def token_loss(self, logits: jax.Array, target: jax.Array, batch: Batch) -> jax.Array:
        """Returns the loss [B, T] of logits [B, T, V] where `target` int32 [B, T] is right: the
        cross-entropy in nats. A subclass may have another.
        """
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)

    def predict(self, model: Any, batch: Batch) -> Outputs:
        """Searches the best answer, token by token.

        Returns `tokens` int32 [B, T], of which the first `length` int32 [B] count, the end among
        them, and `score` float32 [B]: their log-probability, by a beam search over its penalty.
        """
        source = select_text(batch, "source", "source_length")
        (_, (T, _)) = self.input_shape
        cache = model.cache(source, T)
        first_B = jnp.full(source.tokens.shape[0], self._begin, jnp.int32)
        if self._beam == 1:
            answer = beam_search.greedy_tokens(model.read, cache, first_B, length=T, end=self._end)
        else:
            answer = beam_search.beam_search(
                model.read,
                cache,
                first_B,
                beams=self._beam,
                length=T,
                end=self._end,
                length_penalty=self._length_penalty,
            )
        return answer._asdict()

    def aligned(self, model: AlignedModel, batch: Batch) -> Outputs:
        """Returns what `predict` does, and `weights` [B, T, S]: how much each token of the answer
        reads of each token of the source.
        """
        outputs = self.predict(model, batch)
        begin_B1 = jnp.full((len(outputs["tokens"]), 1), self._begin, jnp.int32)
        before_BT = jnp.concatenate([begin_B1, outputs["tokens"][:, :-1]], axis=1)
        source = select_text(batch, "source", "source_length")
        return {**outputs, "weights": model.aligned(source, before_BT)}

    def metrics(self) -> Mapping[str, Metric]:
        """Returns BLEU and the share of answers that are the reference."""
        return {"bleu": Bleu(self._text_of), "sequence": SequenceAccuracy()}
