"""Masked language modelling (Devlin et al. 2019): tokens are hidden and guessed from the rest."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import Probability
from lepton_jax.data.spec import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.metrics.metric import Metric
from lepton_jax.models.model import Model
from lepton_jax.nn.batch import Batch, Outputs, Sums
from lepton_jax.nn.rng import Noise, seed_keys
from lepton_jax.nn.token_batch import TokenBatch
from lepton_jax.tasks.logits import check_losses, read_logits
from lepton_jax.tasks.texts import count_cut, count_padding, select_text

# B batch, T tokens, V vocabulary.

MASKED, REPLACED = 0.8, 0.1
"""Of the tokens to be guessed: shown as [MASK], as any token, and else as they are."""


class MaskedLanguageModelling:
    """Guesses tokens of a text that are hidden from the model (Devlin et al. 2019).

    Fields: `tokens` int32 [B, T], `length` int32 [B], and of pairs `kinds` int32 [B, T].

    The model, built for `input_shape` (T, V) and `outputs` V, is called with a `TokenBatch` and
    gives logits [B, T, V].

    Raises:
      UserError: when the data has no such fields, or its vocabulary no mask.
    """

    answer = "text"

    def __init__(self, spec: DataSpec, *, rate: Probability = 0.15):
        """Checks the data.

        Keys:
          rate: the share of tokens to be guessed; each is drawn by itself.
        """
        task = "masked language modelling"
        tokens = spec.require(task, "tokens", 1, "int")
        spec.require(task, "length", 0, "int")
        vocabulary = spec.vocabulary
        if vocabulary is None or vocabulary.mask is None:
            raise UserError(
                f"{task} needs a tokenizer with a mask, such as data.tokenizer.name = 'wordpiece'"
            )
        self.input_fields = ("tokens", "length", *(("kinds",) if "kinds" in spec.fields else ()))
        self.outputs = len(vocabulary)
        self.input_shape = (*tokens.shape, self.outputs)
        self._mask = vocabulary.mask
        self._kept = tuple(
            t for t in (vocabulary.pad, vocabulary.begin, vocabulary.end) if t is not None
        )
        self._rate = rate

    def loss(self, model: Model, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up the loss in nats, `token_loss`, and the tokens guessed, each over the tokens to
        be guessed. Which tokens these are is drawn: from `noise`, in an evaluation by example.
        """
        text = select_text(batch)
        drawn = Noise(seed_keys(batch["seed"])) if noise is None else noise
        shown_BT, guessed_BT = self._hidden(text, drawn)
        logits_BTV = model(TokenBatch(shown_BT, text.length, text.kinds), noise)
        logits_BTV = read_logits(model, logits_BTV, (*shown_BT.shape, self.outputs), self)
        nats_BT = self.token_loss(logits_BTV, text.tokens, batch)
        check_losses(nats_BT, shown_BT.shape, self.token_loss)
        counted_BT = guessed_BT * batch["mask"][:, None].astype(nats_BT.dtype)
        hit_BT = logits_BTV.argmax(-1) == text.tokens
        weight = counted_BT.sum()
        return {
            "loss": ((nats_BT * counted_BT).sum(), weight),
            "accuracy": ((hit_BT * counted_BT).sum(), weight),
            **count_padding(batch["mask"], text),
            **count_cut(batch),
        }

    def token_loss(self, logits: jax.Array, target: jax.Array, batch: Batch) -> jax.Array:
        """Returns the loss [B, T] of logits [B, T, V] where `target` int32 [B, T] is right: the
        cross-entropy in nats. A subclass may have another.
        """
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)

    def predict(self, model: Model, batch: Batch) -> Outputs:
        """Returns the text with the most probable token in place of each mask: `tokens` int32
        [B, T] and `length` int32 [B].
        """
        text = select_text(batch)
        best_BT = model(text, None).argmax(-1).astype(jnp.int32)
        filled_BT = jnp.where(text.tokens == self._mask, best_BT, text.tokens)
        return {"tokens": filled_BT, "length": text.length}

    def metrics(self) -> Mapping[str, Metric]:
        """Returns none: loss and accuracy are recorded."""
        return {}

    def _hidden(self, text: TokenBatch, noise: Noise) -> tuple[jax.Array, jax.Array]:
        """Draws the tokens that the model sees [B, T], and which are to be guessed, bool [B, T]."""
        T = text.tokens.shape[1]

        def uniform() -> jax.Array:
            return jax.vmap(lambda key: jax.random.uniform(key, (T,), jnp.float32))(noise())

        chosen_BT = (uniform() < self._rate) & text.counts()
        chosen_BT &= ~jnp.isin(text.tokens, jnp.array(self._kept))
        way_BT = uniform()
        any_BT = jnp.minimum((uniform() * self.outputs).astype(jnp.int32), self.outputs - 1)
        other_BT = jnp.where(way_BT < MASKED + REPLACED, any_BT, text.tokens)
        hidden_BT = jnp.where(way_BT < MASKED, self._mask, other_BT)
        return jnp.where(chosen_BT, hidden_BT, text.tokens), chosen_BT
