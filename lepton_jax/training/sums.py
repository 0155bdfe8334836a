"""The sums of a task's loss, checked when they are traced."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from lepton_jax.config.user_code import definition_of, describe_value
from lepton_jax.errors import UserError
from lepton_jax.models.model import Model
from lepton_jax.nn.batch import Batch, Sums
from lepton_jax.nn.rng import Noise
from lepton_jax.tasks.task import Task


def checked_sums(task: Task, model: Model, batch: Batch, noise: Noise | None) -> Sums:
    """Returns what `task.loss` returns, as arrays.

    Raises:
      UserError: when the return value is no dict of pairs of scalars, or has no 'loss'.
    """
    sums = task.loss(model, batch, noise)
    line = definition_of(task.loss)
    name = f"{type(task).__module__}:{type(task).__qualname__}.loss" + (f" ({line})" * bool(line))
    wanted = "expected {'loss': (total, weight), ...} of scalars, summed over the examples"
    if not isinstance(sums, Mapping) or "loss" not in sums:
        raise UserError(f"{name} returned {describe_value(sums)}; {wanted}")
    for key, pair in sums.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise UserError(f"{name}: {key!r} is {describe_value(pair)}; {wanted}")
    return {key: (jnp.asarray(total), jnp.asarray(weight)) for key, (total, weight) in sums.items()}


def _is_number(x: Any) -> bool:
    """Returns whether it is a real scalar."""
    if isinstance(x, bool | int | float):
        return True
    return getattr(x, "shape", None) == () and not jnp.issubdtype(x.dtype, jnp.complexfloating)
