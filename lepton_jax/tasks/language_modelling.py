"""Language modelling: cross-entropy of each token given those before it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import Later
from lepton_jax.data.spec import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.metrics.classification import BitsPerCharacter, Perplexity
from lepton_jax.metrics.metric import Metric
from lepton_jax.models.model import Model, RecurrentModel
from lepton_jax.nn.batch import Batch, Outputs, Sums
from lepton_jax.nn.rng import Noise
from lepton_jax.tasks.logits import check_losses, read_logits
from lepton_jax.tasks.texts import count_padding, select_text

# B batch, T tokens that the model sees, V vocabulary.


class LanguageModelling:
    """Predicts each token of a text from those before it.

    Fields: `tokens` int32 [B, T + 1], the first T of which are the input and the last T the
    targets; and perhaps `length` int32 [B], how many of the T + 1 count: the others are padding,
    at the end.

    The model is built for `input_shape` (T, V) and `outputs` V, as a token stands for one of V.

    Raises:
      UserError: when the data has no such fields, fewer than two tokens, or no vocabulary.
    """

    answer = "class"

    def __init__(self, spec: DataSpec, *, carry: Later[bool] = False):
        """Checks the data.

        Keys:
          carry: whether in training each row of the batch goes on from the recurrent state at the
            end of the batch before (truncated backpropagation through time, Mikolov et al. 2010).
            It needs `data.order` 'contiguous'. Evaluations begin each example anew.
        """
        self.carries = carry
        self._padded = "length" in spec.fields
        self.input_fields = ("tokens", "length") if self._padded else ("tokens",)
        (tokens,) = spec.require("language modelling", "tokens", 1, "int").shape
        if self._padded:
            spec.require("language modelling", "length", 0, "int")
        if tokens < 2:
            raise UserError(f"language modelling needs two tokens an example, got {tokens}")
        if spec.vocabulary is None or len(spec.vocabulary) < 2:
            raise UserError("language modelling needs data with a vocabulary of two or more tokens")
        self.outputs = len(spec.vocabulary)
        self.input_shape = (tokens - 1, self.outputs)
        self._classes = spec.classes
        self._characters = "characters" in spec.fields

    def loss(self, model: Model, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up the loss in nats, `token_loss`, and the tokens that were guessed, each over the
        tokens that count.
        """
        logits_BTV, target_BT = self._logits(model, batch, noise)
        nats_BT = self.token_loss(logits_BTV, target_BT, batch)
        check_losses(nats_BT, target_BT.shape, self.token_loss)
        counted_BT = self._counted(batch, nats_BT.dtype)
        counted_BT *= batch["mask"][:, None].astype(nats_BT.dtype)
        hit_BT = logits_BTV.argmax(-1) == target_BT
        weight = counted_BT.sum()
        return {
            "loss": ((nats_BT * counted_BT).sum(), weight),
            "accuracy": ((hit_BT * counted_BT).sum(), weight),
            **(count_padding(batch["mask"], select_text(batch)) if self._padded else {}),
        }

    def token_loss(self, logits: jax.Array, target: jax.Array, batch: Batch) -> jax.Array:
        """Returns the loss [B, T] of logits [B, T, V] where `target` int32 [B, T] is right: the
        cross-entropy in nats. A subclass may have another.
        """
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)

    def start(self, model: Any, rows: int) -> Any:
        """Returns the recurrent state of `rows` rows of the batch before the first step.

        Raises:
          UserError: when the model keeps no state that it could go on with.
        """
        if not isinstance(model, RecurrentModel):
            raise UserError(
                f"task.carry = True: {type(model).__name__} keeps nothing from one batch to the "
                "next; expected a recurrent model, such as rnn_lm"
            )
        return model.start(rows)

    def carrying_loss(
        self, model: RecurrentModel, batch: Batch, noise: Noise | None, state: Any
    ) -> tuple[Sums, Any]:
        """Returns the sums of `loss` for texts that go on from the recurrent state `state`, and
        the state after them.
        """

        def read(tokens_BT: jax.Array, noise: Noise | None = None) -> jax.Array:
            nonlocal state
            logits_BTV, state = model.read(tokens_BT, state, noise)
            return logits_BTV

        sums = self.loss(read, batch, noise)
        return sums, state

    def predict(self, model: Model, batch: Batch) -> Outputs:
        """Predicts the last token that counts from those before it.

        Returns `probabilities` float32 [B, V] and `label` int32 [B], the most probable token; and
        of the whole sequence `nats` [B], the summed cross-entropy, and `counted` [B], the number
        of tokens.
        """
        logits_BTV, target_BT = self._logits(model, batch, None)
        nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, target_BT)
        counted_BT = self._counted(batch, nats_BT.dtype)
        last_B = counted_BT.sum(-1).astype(jnp.int32) - 1
        logits_BV = jnp.take_along_axis(logits_BTV, last_B[:, None, None], axis=1)[:, 0]
        return {
            "probabilities": jax.nn.softmax(logits_BV.astype(jnp.float32)),
            "label": logits_BV.argmax(-1).astype(jnp.int32),
            "nats": (nats_BT * counted_BT).sum(-1),
            "counted": counted_BT.sum(-1),
        }

    def metrics(self) -> Mapping[str, Metric]:
        """Returns the perplexity, and bits a character where the data counts characters."""
        perplexity = Perplexity(self._classes)
        if not self._characters:
            return {"perplexity": perplexity}
        return {"perplexity": perplexity, "bits_per_character": BitsPerCharacter(self._classes)}

    def _logits(
        self, model: Model, batch: Batch, noise: Noise | None
    ) -> tuple[jax.Array, jax.Array]:
        """Returns logits [B, T, V], in float32 at least, and targets int32 [B, T]."""
        tokens = batch["tokens"].astype(jnp.int32)
        target_BT = tokens[:, 1:]
        logits_BTV = model(tokens[:, :-1], noise)
        shape = (*target_BT.shape, self.outputs)
        return read_logits(model, logits_BTV, shape, self), target_BT

    def _counted(self, batch: Batch, dtype: Any) -> jax.Array:
        """Returns 1 for each target that counts, else 0: [B, T]."""
        B, tokens = batch["tokens"].shape
        if not self._padded:
            return jnp.ones((B, tokens - 1), dtype)
        return (jnp.arange(1, tokens) < batch["length"][:, None]).astype(dtype)
