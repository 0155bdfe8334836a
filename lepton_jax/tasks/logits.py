"""What comes back from the user's side of a task: a model's logits and a loss of each example.

Arrays of other shapes often broadcast, and would then be trained on in silence.
"""

from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.config.user_code import definition_of
from lepton_jax.errors import UserError, describe_value


def read_logits(model: Any, outputs: Any, shape: tuple[Any, ...], task: Any) -> jax.Array:
    """Returns a model's logits, in float32 at least.

    Raises:
      UserError: when they are no floats of `shape`: what the model returned, and what `task` needs.
    """
    floats = hasattr(outputs, "dtype") and jnp.issubdtype(outputs.dtype, jnp.floating)
    if not floats or tuple(outputs.shape) != shape:
        raise UserError(
            f"{_name(model, 'the model')} returned {describe_value(outputs)}; "
            f"{type(task).__name__} expects logits, floats {list(shape)}: the last axis is the "
            f"model's `outputs`, {task.outputs}"
        )
    return widen(outputs)


def check_losses(losses: Any, shape: tuple[Any, ...], function: Any) -> jax.Array:
    """Returns what a task's `function` returned, the losses without reduction.

    Raises:
      UserError: when they have another shape than `shape`.
    """
    if getattr(losses, "shape", None) != shape:
        raise UserError(
            f"{_name(function, 'the task')} returned {describe_value(losses)}; expected "
            f"{list(shape)}: a loss for each, without reduction"
        )
    return losses


def widen(logits: jax.Array) -> jax.Array:
    """Casts logits to float32, where they are not wider already."""
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def _name(part: Any, anonymous: str) -> str:
    name = getattr(part, "__qualname__", None) or type(part).__name__
    where = definition_of(part)
    return (anonymous if "<" in name else name) + (f" ({where})" if where else "")
