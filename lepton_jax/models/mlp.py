"""A multilayer perceptron; without hidden layers it is logistic regression."""

from typing import ClassVar

import jax
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate
from lepton_jax.errors import UserError
from lepton_jax.nn.layers import Dropout, uniform_linear
from lepton_jax.nn.rng import Noise

# B batch, D features, K outputs.


class MLP(nnx.Module):
    """A classifier of inputs `[B, ...]`, flattened, to `outputs` logits: linear layers with ReLU.

    Raises:
      UserError: when `residual` is True and the hidden widths differ.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {r"head\.kernel": ("fsdp", None)}

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        features: tuple[PositiveInt, ...] = (100, 100),
        residual: bool = False,
        dropout: Rate = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the model for any `input_shape`.

        Keys:
          features: the width of each hidden layer; (): logistic regression.
          residual: whether each hidden layer but the first computes x + relu(Wx + b).
          dropout: the rate of dropout after each hidden layer.
        """
        if residual and len(set(features)) > 1:
            raise UserError(
                f"model.residual adds layers of one width, but model.features = {tuple(features)}"
            )
        size = 1
        for length in input_shape:
            size *= length
        self.layers: nnx.List[nnx.Module] = nnx.List()
        for width in features:
            self.layers.append(uniform_linear(size, width, fan_in=size, rngs=rngs))
            size = width
        self.dropout = Dropout(dropout)
        self.head = uniform_linear(size, outputs, fan_in=size, rngs=rngs)
        self._residual = residual

    def __call__(self, x: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`."""
        x_BD = x.reshape(x.shape[0], -1)
        for number, layer in enumerate(self.layers):
            y_BD = nnx.relu(layer(x_BD))
            x_BD = self.dropout(x_BD + y_BD if self._residual and number else y_BD, noise)
        return self.head(x_BD)
