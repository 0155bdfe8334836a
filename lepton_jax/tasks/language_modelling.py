"""Language modelling: cross-entropy of each token given those before it."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import Later
from lepton_jax.data.dataset import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.metrics.classification import BitsPerCharacter, Perplexity
from lepton_jax.tasks.texts import padding, text_of

# B batch, T tokens that the model sees, V vocabulary.


class LanguageModelling:
    """Fields: `tokens` int32 [B, T + 1], the first T of which are the input and the last T the
    targets; and perhaps `length` int32 [B], how many of the T + 1 count: the others are padding,
    at the end.

    The model is built for `input_shape` (T, V) and `outputs` V, as a token stands for one of V.

    Raises:
      UserError: when the data has no such fields, fewer than two tokens, or no vocabulary.
    """

    answer = "class"

    def __init__(self, spec: DataSpec, *, carry: Later[bool] = False):
        """`carry`: in training each row of the batch goes on with what a recurrent model knew at
        the end of the batch before (truncated backpropagation through time, Mikolov et al. 2010);
        it needs `data.order` 'contiguous'. Evaluations begin every example with nothing known."""
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

    def loss(self, model: Any, batch: Any, noise: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Summed cross-entropy in nats, and tokens guessed, each over the tokens that count."""
        logits_BTV, target_BT, nats_BT = self._nats(model, batch, noise)
        counted_BT = self._counted(batch, nats_BT.dtype)
        counted_BT *= batch["mask"][:, None].astype(nats_BT.dtype)
        hit_BT = logits_BTV.argmax(-1) == target_BT
        weight = counted_BT.sum()
        return {
            "loss": ((nats_BT * counted_BT).sum(), weight),
            "accuracy": ((hit_BT * counted_BT).sum(), weight),
            **(padding(batch["mask"], text_of(batch)) if self._padded else {}),
        }

    def start(self, model: Any, rows: int) -> Any:
        """What rows of the batch know before the first step.

        Raises:
          UserError: when the model keeps nothing that it could go on with.
        """
        if not hasattr(model, "start"):
            raise UserError(
                f"task.carry = True: {type(model).__name__} keeps nothing from one batch to the "
                "next; expected a recurrent model, such as rnn_lm"
            )
        return model.start(rows)

    def carrying_loss(self, model: Any, batch: Any, noise: Any, known: Any) -> tuple[Any, Any]:
        """`loss`, of texts that go on from what is known of them, and what is known then."""

        def reading(tokens_BT: jax.Array, noise: Any) -> jax.Array:
            nonlocal known
            logits_BTV, known = model.read(tokens_BT, known, noise)
            return logits_BTV

        sums = self.loss(reading, batch, noise)
        return sums, known

    def predict(self, model: Any, batch: Any) -> dict[str, jax.Array]:
        """What the last token that counts should be, given those before it, which alone are
        looked at: `probabilities` float32 [B, V], `label` int32 [B], the likeliest.

        Beside it the sequence's summed cross-entropy in nats and its number of tokens: `nats` [B],
        `counted` [B].
        """
        logits_BTV, _, nats_BT = self._nats(model, batch, None)
        counted_BT = self._counted(batch, nats_BT.dtype)
        last_B = counted_BT.sum(-1).astype(jnp.int32) - 1
        logits_BV = jnp.take_along_axis(logits_BTV, last_B[:, None, None], axis=1)[:, 0]
        return {
            "probabilities": jax.nn.softmax(logits_BV.astype(jnp.float32)),
            "label": logits_BV.argmax(-1).astype(jnp.int32),
            "nats": (nats_BT * counted_BT).sum(-1),
            "counted": counted_BT.sum(-1),
        }

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {"perplexity": Perplexity(self._classes)}
        if self._characters:
            found["bits_per_character"] = BitsPerCharacter(self._classes)
        return found

    def _nats(self, model: Any, batch: Any, noise: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits [B, T, V], targets [B, T] and the cross-entropy of each [B, T]."""
        tokens = batch["tokens"].astype(jnp.int32)
        target_BT = tokens[:, 1:]
        logits_BTV = model(tokens[:, :-1], noise)
        logits_BTV = logits_BTV.astype(jnp.promote_types(logits_BTV.dtype, jnp.float32))
        nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, target_BT)
        return logits_BTV, target_BT, nats_BT

    def _counted(self, batch: Any, dtype: Any) -> jax.Array:
        """1 for each target that counts, else 0: [B, T]."""
        B, tokens = batch["tokens"].shape
        if not self._padded:
            return jnp.ones((B, tokens - 1), dtype)
        return (jnp.arange(1, tokens) < batch["length"][:, None]).astype(dtype)
