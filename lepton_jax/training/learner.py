"""What one step does to the parameters: the contract of a learner, and the tools it is handed.

`supervised.Supervised` is the learner of almost every run: one model, one optimizer, the gradient
of the task's summed loss. A task with a step of its own (two players, targets, alternating updates)
is a learner itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import optax

from lepton_jax.nn.batch import Batch, Sums
from lepton_jax.nn.rng import Noise
from lepton_jax.training.functional import Functional


@dataclass(frozen=True)
class Tools:
    """What a learner is handed inside the traced step, built from the config.

    Numbers that trials may vary are traced. A raw batch becomes the model's input in two calls:
    `noise = tools.noise(batch)`, then `tools.augment(batch, noise)`.
    """

    model: Functional
    """The configured model as pure functions: `model.merge(params, rest)` is the module."""
    init_model: Callable[[jax.Array], tuple[Any, Any]]
    """`key -> (params, rest)`: fresh variables of the configured model."""
    optimizer: optax.GradientTransformation
    """The configured optimizer, at the learning rate of this step."""
    ema: Any
    """Decay of the moving average of the parameters in this step; 0.0 when none is kept."""
    accumulate: int
    """The number of microbatches that a batch is cut into."""
    batch_size: int
    """The number of examples in the whole batch, over all shards."""
    cast: Callable[[Any], Any]
    """Casts floating leaves of a tree to the precision of the computation."""
    noise: Callable[[Batch], Noise]
    """Returns the noise of a batch in this step: a key an example, by `batch["position"]`."""
    augment: Callable[[Batch, Noise], Batch]
    """Runs `data.augment` and `data.prepare` on a raw batch."""


@runtime_checkable
class Learner(Protocol):
    """What takes a run's steps. A task that has these three methods takes its own steps.

    `init` and `update` are traced. A step counts as finite when the sums that it returns are, so
    the sums should show whatever could break. A learner may have `beside`, the names of the parts
    of its state that are optimizer state or averages and are placed as the parameters are
    (`HasBeside`).

    A learner of one optimizer, without augmentation or accumulation::

        def init(self, tools, key):
            params, rest = tools.init_model(key)
            return {"params": params, "rest": rest, "opt": tools.optimizer.init(params)}

        def update(self, tools, state, batch):
            ...  # gradients, batch_sum over the shards, optax.apply_updates
            return new_state, {"loss": (total, weight)}

        def variables(self, state):
            return state["params"], state["rest"]
    """

    def init(self, tools: Tools, key: jax.Array) -> Any:
        """Returns the learner's state before the first step: a pytree of arrays."""
        ...

    def update(self, tools: Tools, state: Any, batch: Batch) -> tuple[Any, Sums]:
        """Returns the state after one more raw batch, and sums over the whole batch of all shards.

        `batch` holds fields `[B, ...]`, `position` int32 [B] and `mask`, ones [B].
        """
        ...

    def variables(self, state: Any) -> tuple[Any, Any]:
        """Returns `(params, rest)` of the configured model, to be evaluated and exported."""
        ...


@runtime_checkable
class HasBeside(Protocol):
    """A learner that says which parts of its state are optimizer state or averages."""

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of these parts, such as `("optimizer", "ema")`."""
        ...
