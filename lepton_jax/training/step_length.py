"""Tells whether the steps of a run were too long, by the sizes of its weights and its updates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.console import format_command
from lepton_jax.training.program import Program
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit

LARGE = 10.0
"""Weights whose norm is so many times that of the first ones were made so by steps that are too
long: in a run that learns the norm changes by a small factor."""
SMALL = 1.5
"""Weights that have grown less were not thrown far by any step."""


@dataclass(frozen=True)
class Growth:
    """The norms of the weights that train: before the first step, and now."""

    first: float
    now: float

    @property
    def times(self) -> float:
        """How many times the first norm the norm is now; 1.0 where the first one is 0."""
        return self.now / self.first if self.first else 1.0

    @property
    def is_large(self) -> bool:
        return not self.times <= LARGE

    @property
    def is_small(self) -> bool:
        return self.times < SMALL


def measure_growth(program: Program, first: State, now: State) -> Growth:
    """Measures how the weights have grown between two states.

    Every process of a run must call it.
    """
    return Growth(*(weights_norm(program, state) for state in (first, now)))


def weights_norm(program: Program, state: State) -> float:
    """Returns the norm of what trains; of a learner of the user's own, of what is evaluated."""
    learner = state.learner
    weights = learner.params if isinstance(learner, Fit) else program.training.variables(state)[0]
    return float(jax.device_get(_norm(weights)))


@jax.jit
def _norm(tree: Any) -> jax.Array:
    """Returns the norm of all floating leaves, also where their squares would overflow."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    leaves = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in leaves]
    largest = jnp.stack([jnp.abs(x).max(initial=0.0) for x in leaves]).max()
    unit = jnp.where(largest > 0, largest, 1.0)
    return unit * jnp.sqrt(sum(jnp.square(x / unit).sum() for x in leaves))


def only_update_broke(means: Mapping[str, float]) -> bool:
    """Tells whether a step that is not finite has a finite loss and a finite gradient."""
    return all(np.isfinite(means.get(name, math.nan)) for name in ("loss", "grad_norm"))


def advise_lower_rate(workdir: str) -> str:
    """Says what helps against steps that are too long."""
    command = format_command("lr_find", config=f"{workdir}/config.json")
    return (
        f"try a lower optimizer.learning_rate ({command} finds one), a longer schedule.warmup or "
        "optimizer.clip_norm=1.0"
    )
