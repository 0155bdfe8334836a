"""The state of a run: one pytree, so that it is donated, saved, restored and stacked as one."""

from dataclasses import dataclass
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, apart from the batch."""

    step: jax.Array
    """int32 []: steps taken."""
    seed: jax.Array
    """uint32 []: every random draw is keyed by it."""
    bad_step: jax.Array
    """int32 []: the step whose numbers were not finite, where the state froze; or -1."""
    hyper: dict[str, Any]
    """The numbers that trials may vary (`config.config.hyper_of`), as arrays."""
    learner: Any
    """Parameters, optimizer state, running statistics: the learner's own pytree."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Totals:
    """What a logging interval has added up so far, as totals and weights of named means."""

    values: jax.Array
    """[2, N]: totals and weights, in the order of `TrainingStep.sum_names`."""
    bad_step: jax.Array
    """int32 []: as in `State`, so that one small array tells both."""
