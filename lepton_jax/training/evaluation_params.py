"""The parameters that are evaluated, of optimizers that train at other ones.

Schedule-free optimizers take gradients at y and are evaluated at the average x of their steps. An
optimizer of the user's own says so by an attribute `evaluation_params`, a function `(its state,
params) -> params`::

    def my_optimizer(learning_rate, *, ...):
        return optax.GradientTransformation(...)

    my_optimizer.evaluation_params = lambda state, params: ...
"""

from typing import Any, NamedTuple

import jax
import optax
from optax.contrib import ScheduleFreeState, schedule_free_eval_params

from lepton_jax.config.components import resolve_component
from lepton_jax.config.config import OptimizerConfig


class Evaluable(NamedTuple):
    """The state of an optimizer that has `evaluation_params`."""

    state: Any


def has_evaluation_params(config: OptimizerConfig) -> bool:
    """Tells whether an optimizer of the user's own is evaluated elsewhere than it trains."""
    return hasattr(resolve_component("optimizer", config.name), "evaluation_params")


def mark_state(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Returns the same transformation with an `Evaluable` state, which `evaluated_params` finds
    wherever optax nests it.
    """

    def update(updates: Any, state: Evaluable, params: Any = None) -> tuple[Any, Evaluable]:
        updates, own = inner.update(updates, state.state, params)
        return updates, Evaluable(own)

    return optax.GradientTransformation(lambda params: Evaluable(inner.init(params)), update)


def evaluated_params(config: OptimizerConfig, labels: Any, state: Any, params: Any) -> Any:
    """Returns the parameters to evaluate: `params` themselves for most optimizers.

    Args:
      labels: the group of each parameter, as a tree, which optax's state is split by.
      state: the state of the whole optimizer.
    """
    for path, node in jax.tree_util.tree_leaves_with_path(state, is_leaf=_trains_elsewhere):
        if isinstance(node, ScheduleFreeState):
            mine = jax.tree.map(lambda p, z: _MASKED if _is_masked(z) else p, params, node.z)
            evaluated = schedule_free_eval_params(node, mine)
        elif isinstance(node, Evaluable):
            keys = [k.key for k in path if isinstance(k, jax.tree_util.DictKey)]
            group = keys[0] if config.groups else ""
            mine = jax.tree.map(lambda p, g, n=group: p if g == n else _MASKED, params, labels)
            own: Any = resolve_component("optimizer", config.name)
            evaluated = own.evaluation_params(node.state, mine)
        else:
            continue
        params = jax.tree.map(
            lambda p, e: p if _is_masked(e) else e.astype(p.dtype), params, evaluated
        )
    return params


_MASKED = optax.MaskedNode()
"""In the tree of a group, the parameters of the others."""


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _trains_elsewhere(node: Any) -> bool:
    return isinstance(node, Evaluable | ScheduleFreeState)
