"""What the methods of a task return, checked when they are traced: sums, and rows of answers."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from lepton_jax.config.user_code import definition_of
from lepton_jax.errors import UserError, describe_value
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
    check_sums(sums, task, "loss")
    return {key: (jnp.asarray(total), jnp.asarray(weight)) for key, (total, weight) in sums.items()}


def check_sums(sums: Any, task: Any, method: str) -> None:
    """Checks what a method of a task returned.

    Raises:
      UserError: when it is no dict of pairs of scalars; or when `loss` has no 'loss'.
    """
    line = definition_of(getattr(task, method))
    name = f"{type(task).__module__}:{type(task).__qualname__}.{method}"
    name += f" ({line})" if line else ""
    wanted = "expected {'loss': (total, weight), ...} of scalars, summed over the examples"
    if not isinstance(sums, Mapping) or (method == "loss" and "loss" not in sums):
        raise UserError(f"{name} returned {describe_value(sums)}; {wanted}")
    for key, pair in sums.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise UserError(f"{name}: {key!r} is {describe_value(pair)}; {wanted}")


def _is_number(x: Any) -> bool:
    """Returns whether it is a real scalar."""
    if isinstance(x, bool | int | float):
        return True
    return getattr(x, "shape", None) == () and not jnp.issubdtype(x.dtype, jnp.complexfloating)


def check_outputs(outputs: Any, rows: Any, function: Any) -> None:
    """Checks what `predict` or `gathered` returned: arrays `[B, ...]` by name.

    Raises:
      UserError: for anything else.
    """
    if are_rows(outputs, rows):
        return
    line = definition_of(function)
    raise UserError(
        f"{function.__qualname__}{f' ({line})' if line else ''} returned "
        f"{describe_value(outputs)}; expected arrays by name, a row for each of the {rows} examples"
    )


def are_rows(values: Any, rows: Any) -> bool:
    """Tells whether `values` are arrays `[B, ...]` by name, B = `rows`, which may be symbolic."""
    return isinstance(values, Mapping) and all(
        getattr(x, "shape", ())[:1] == (rows,) for x in values.values()
    )
