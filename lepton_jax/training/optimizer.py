"""The optimizer, built inside the traced step from the state's numbers.

Because every number may be a traced array, trials that differ only in numbers share one program.
"""

import re
from collections.abc import Iterable
from typing import Any

import jax
import optax

from lepton_jax.config.components import Component, component_keys
from lepton_jax.config.config import OptimizerConfig
from lepton_jax.config.schema import is_off
from lepton_jax.config.user_code import blame
from lepton_jax.errors import UserError, describe_value, did_you_mean, list_names
from lepton_jax.training.evaluation_params import (
    evaluated_params,
    has_evaluation_params,
    mark_state,
)
from lepton_jax.training.lora import is_adapter
from lepton_jax.trees import flatten_tree, path_name


def build_optimizer(config: OptimizerConfig, shape: Any) -> optax.GradientTransformation:
    """Builds optax's transformation; the numbers of `config` that trials may vary may be traced.

    `shape`: the schedule's value at this step, with peak 1. Clipping is by the global norm of all
    gradients, before they are split into groups.
    """
    rest = _build_group(config, shape, 1.0, 1.0)
    if config.groups:
        parts = {
            name: _build_group(config, shape, group.learning_rate, group.weight_decay)
            for name, group in config.groups.items()
        }
        rest = optax.multi_transform(parts | {"": rest}, lambda tree: label_groups(config, tree))
    if config.clip_norm is None:
        return rest
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rest)


def _build_group(
    config: OptimizerConfig, shape: Any, lr_factor: Any, decay_factor: Any
) -> optax.GradientTransformation:
    """Builds the transformation of a group, whose factors multiply the optimizer's rates."""
    if is_off(lr_factor):
        return optax.set_to_zero()
    learning_rate = config.learning_rate * lr_factor * shape
    # Optimizers without a decay of their own may have None as their default.
    given = 0.0 if config.weight_decay is None else config.weight_decay
    decays = not is_off(given) and not is_off(decay_factor)
    decay = given * decay_factor if decays else 0.0
    own_decay = "weight_decay" in component_keys("optimizer", config.name)
    inner = _call_optimizer(config, learning_rate, **({"weight_decay": decay} if own_decay else {}))
    if has_evaluation_params(config):
        inner = mark_state(inner)
    if own_decay:
        return inner
    if not decays:
        return inner
    return optax.chain(optax.add_decayed_weights(decay), inner)


def evaluation_params(config: OptimizerConfig, state: Any, params: Any) -> Any:
    """Returns the parameters to evaluate, of the optimizer's state and those that it trains."""
    return evaluated_params(config, label_groups(config, params), state, params)


def evaluates_elsewhere(config: OptimizerConfig, names: Iterable[str]) -> bool:
    """Tells whether the optimizer evaluates other parameters than it trains.

    `names`: the arrays of a checkpoint, in which a schedule-free optimizer keeps `z` and `max_lr`.
    """
    return has_evaluation_params(config) or any(
        re.match(r"optimizer\.(.*\.)?max_lr$", name) for name in names
    )


def _call_optimizer(
    config: OptimizerConfig, learning_rate: Any, **more: Any
) -> optax.GradientTransformation:
    """Makes the transformation of optax, or of the user, that the config names.

    Raises:
      UserError: when it is none, or needs more than gradients and parameters.
    """
    component = Component("optimizer", config.name, config.keys)
    made = component.build(learning_rate, **more)
    if not callable(getattr(made, "init", None)) or not callable(getattr(made, "update", None)):
        raise UserError(
            f"optimizer {config.name} returned {describe_value(made)}; expected an "
            "optax.GradientTransformation"
        )
    if ":" not in config.name:
        return made

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        try:
            updates, state = made.update(grads, state, params, **extra)
        except Exception as e:  # noqa: BLE001  whatever a user's optimizer raises
            missing = isinstance(e, TypeError) and "missing" in str(e)
            cure = (
                "a step hands over grads, state and params: the value of the loss or a second "
                "pass needs a task with a step of its own (lepton_jax.training.learner.Learner)"
            )
            blame(f"optimizer {config.name}.update", e, cure=cure * missing)
        if str(jax.tree.structure(updates)) != str(jax.tree.structure(grads)):
            raise UserError(
                f"optimizer {config.name}.update returned updates of another structure than the "
                f"gradients: {jax.tree.structure(updates)}; expected one for each parameter"
            )
        return updates, state

    return optax.GradientTransformationExtraArgs(made.init, update)


def label_groups(config: OptimizerConfig, tree: Any) -> Any:
    """Labels each parameter with its group: the one whose pattern matches its path, or `''`.

    Raises:
      UserError: for a parameter that two groups claim, or a pattern that matches nothing.
    """
    unused = dict(config.groups)

    def label(path: Any, _: Any) -> str:
        name = path_name(path)
        claims = [g for g, group in config.groups.items() if re.search(group.pattern, name)]
        for group in claims:
            unused.pop(group, None)
        if len(claims) > 1:
            raise UserError(
                f"parameter {name} matches two of optimizer.groups: {', '.join(claims)}; "
                "make their patterns exclude each other"
            )
        return claims[0] if claims else ""

    labels = jax.tree_util.tree_map_with_path(label, tree)
    if unused:
        name, group = next(iter(unused.items()))
        names = [path_name(p) for p, _ in jax.tree_util.tree_leaves_with_path(tree)]
        cure = "; with lora the adapters alone train: --config.optimizer.groups={}"
        raise UserError(
            f"optimizer.groups.{name}.pattern = {group.pattern!r} matches no parameter"
            f"{did_you_mean(group.pattern, names)}; there are: {list_names(names, most=8)}"
            f"{cure if any(map(is_adapter, names)) else ''}"
        )
    return labels


def frozen_by_groups(config: OptimizerConfig, tree: Any) -> dict[str, str]:
    """Returns the parameters that a group freezes, by name, each with its group.

    Raises:
      UserError: as `label_groups`.
    """
    labels = flatten_tree(label_groups(config, tree))
    frozen = {name for name, group in config.groups.items() if group.learning_rate == 0}
    return {name: group for name, group in labels.items() if group in frozen}


def describe_groups(config: OptimizerConfig, tree: Any) -> dict[str, str]:
    """Says for each parameter in which group it is: `body, frozen`, `norm`; '-' for none.

    Raises:
      UserError: as `label_groups`.
    """
    frozen = frozen_by_groups(config, tree)
    labels = flatten_tree(label_groups(config, tree))
    return {n: (group or "-") + ", frozen" * (n in frozen) for n, group in labels.items()}
