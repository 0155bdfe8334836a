"""Masked language modelling (Devlin et al. 2019): tokens are hidden and guessed from the rest."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import Probability
from lepton_jax.data.dataset import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.nn.rng import Noise, seed_keys
from lepton_jax.nn.token_batch import TokenBatch
from lepton_jax.tasks.texts import padding, text_of, was_cut

# B batch, T tokens, V vocabulary.

MASKED, REPLACED = 0.8, 0.1
"""Of the tokens to be guessed: shown as [MASK], as any token, and else as they are."""


class MaskedLanguageModelling:
    """Fields: `tokens` int32 [B, T], `length` int32 [B], and of pairs `kinds` int32 [B, T].

    The model, built for `input_shape` (T, V) and `outputs` V, is called with a `Text` and gives
    logits [B, T, V].

    Raises:
      UserError: when the data has no such fields, or its vocabulary no mask.
    """

    answer = "text"

    def __init__(self, spec: DataSpec, *, rate: Probability = 0.15):
        """`rate`: how many of the tokens are to be guessed, each drawn by itself."""
        task = "masked language modelling"
        tokens = spec.require(task, "tokens", 1, "int")
        spec.require(task, "length", 0, "int")
        if spec.vocabulary is None or spec.vocabulary.mask is None:
            raise UserError(
                f"{task} needs a tokenizer with a mask, such as data.tokenizer.name = 'wordpiece'"
            )
        known = spec.vocabulary
        self.input_fields = ("tokens", "length", *(("kinds",) if "kinds" in spec.fields else ()))
        self.outputs = len(known)
        self.input_shape = (*tokens.shape, self.outputs)
        self._mask = spec.vocabulary.mask
        self._kept = tuple(t for t in (known.pad, known.begin, known.end) if t is not None)
        self._rate = rate

    def loss(self, model: Any, batch: Any, noise: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Summed cross-entropy in nats of the tokens to be guessed, and how many were, over them.

        Which they are is drawn for each example: from `noise`, in an evaluation from its seed.
        """
        text = text_of(batch)
        drawn = Noise(seed_keys(batch["seed"])) if noise is None else noise
        shown_BT, guessed_BT = self._hidden(text, drawn)
        logits_BTV = model(TokenBatch(shown_BT, text.length, text.kinds), noise)
        logits_BTV = logits_BTV.astype(jnp.promote_types(logits_BTV.dtype, jnp.float32))
        nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, text.tokens)
        counted_BT = guessed_BT * batch["mask"][:, None].astype(nats_BT.dtype)
        hit_BT = logits_BTV.argmax(-1) == text.tokens
        weight = counted_BT.sum()
        return {
            "loss": ((nats_BT * counted_BT).sum(), weight),
            "accuracy": ((hit_BT * counted_BT).sum(), weight),
            **padding(batch["mask"], text),
            **was_cut(batch),
        }

    def predict(self, model: Any, batch: Any) -> dict[str, jax.Array]:
        """The text with the likeliest token wherever it shows a mask: `tokens` int32 [B, T] and its
        `length` int32 [B].
        """
        text = text_of(batch)
        best_BT = model(text, None).argmax(-1).astype(jnp.int32)
        filled_BT = jnp.where(text.tokens == self._mask, best_BT, text.tokens)
        return {"tokens": filled_BT, "length": text.length}

    def metrics(self) -> dict[str, Any]:
        return {}

    def _hidden(self, text: TokenBatch, noise: Noise) -> tuple[jax.Array, jax.Array]:
        """The tokens as they are shown [B, T], and which of them are to be guessed bool [B, T]."""
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
