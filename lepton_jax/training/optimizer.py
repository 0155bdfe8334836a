"""The optimizer, built inside the traced step from the state's numbers.

Because every number may be a traced array, trials that differ only in numbers share one program.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import optax

from lepton_jax.config.components import component_keys, resolve_component
from lepton_jax.config.config import OptimizerConfig
from lepton_jax.config.schema import is_off
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.trees import path_name


def build_optimizer(
    config: OptimizerConfig, rates: Mapping[str, Any], shape: Any
) -> optax.GradientTransformation:
    """Builds optax's transformation with the numbers in `rates` (`config.varied.hyper_of`).

    `shape`: the schedule's value at this step, with peak 1. Clipping is by the global norm of all
    gradients, before they are split into groups.
    """
    groups = rates["groups"]
    numbers = {k: v for k, v in rates.items() if k != "groups"}
    rest = _one(config, numbers, shape, 1.0, 1.0)
    if config.groups:
        parts = {
            name: _one(config, numbers, shape, group.get("lr", 0.0), group.get("wd", 0.0))
            for name, group in groups.items()
        }
        rest = optax.multi_transform(parts | {"": rest}, lambda tree: label_groups(config, tree))
    if config.clip_norm is None:
        return rest
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rest)


def _one(
    config: OptimizerConfig,
    numbers: Mapping[str, Any],
    shape: Any,
    lr_factor: Any,
    decay_factor: Any,
) -> optax.GradientTransformation:
    if is_off(lr_factor):
        return optax.set_to_zero()
    keys = {**config.keys, **{k: v for k, v in numbers.items() if k in config.keys}}
    learning_rate = numbers["learning_rate"] * lr_factor * shape
    decay = numbers.get("weight_decay", 0.0)
    decays = not is_off(decay) and not is_off(decay_factor)
    function = resolve_component("optimizer", config.name)
    if "weight_decay" in component_keys("optimizer", config.name):
        return function(learning_rate, weight_decay=decay * decay_factor if decays else 0.0, **keys)
    inner = function(learning_rate, **keys)
    if not decays:
        return inner
    return optax.chain(optax.add_decayed_weights(decay * decay_factor), inner)


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
        raise UserError(
            f"optimizer.groups.{name}.pattern = {group.pattern!r} matches no parameter"
            f"{did_you_mean(group.pattern, names)}; there are: {', '.join(names)}"
        )
    return labels
