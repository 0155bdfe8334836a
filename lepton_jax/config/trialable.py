"""The numbers that trials may vary in one compiled program, and the key that names the program."""

import json
from collections.abc import Mapping
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.walk import digest_tree, get_at, nest, put_at, replace_leaves, to_tree, walk


def hyper_of(config: Config) -> dict[str, Any]:
    """Collects the numbers that trials may vary, nested by the section that consumes them.

    They are the `Hyper` numbers of `Traced` components and of the sections themselves. Checkpoints
    store them as `hyper.*`, so the names here do not change.
    """
    numbers: dict[str, Any] = {
        "model": {},
        "task": {},
        "optimizer": {"groups": {name: {} for name in config.optimizer.groups}},
        "augment": [{} for _ in config.data.augment],
        "lora": {},
        "ema": {},
    }
    for leaf in walk(config, open_pipelines=True):
        if leaf.is_trialable:
            put_at(numbers, _path_in_checkpoint(leaf.path), leaf.value)
    return numbers


def apply_hyper(config: Config, hyper: Mapping[str, Any]) -> Config:
    """Returns the config with its trialable numbers replaced by those of `hyper`.

    `hyper` has the form of `hyper_of(config)`; inside the step its leaves are traced arrays, so
    that what is built from the returned config computes with them.
    """
    trialable = (leaf for leaf in walk(config, open_pipelines=True) if leaf.is_trialable)
    paths = {leaf.path: get_at(hyper, _path_in_checkpoint(leaf.path)) for leaf in trialable}
    return replace_leaves(config, paths)


def _path_in_checkpoint(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Translates the paths of those numbers that have other names in checkpoints."""
    match path:
        case ("ema",):
            return ("ema", "decay")
        case ("optimizer", "groups", name, "learning_rate"):
            return ("optimizer", "groups", name, "lr")
        case ("optimizer", "groups", name, "weight_decay"):
            return ("optimizer", "groups", name, "wd")
        case ("data", "augment", *rest):
            return ("augment", *rest)
    return path


def program_key(config: Config) -> str:
    """Names the compiled program: twelve hex digits that configs share which share the program.

    Such configs may differ in the seed and in every number of `hyper_of`. A number that is off in
    one of them (exactly zero) makes another program.
    """
    leaves = walk(config, open_pipelines=True)
    tree = nest((x.path, 1.0 if x.is_trialable else to_tree(x.value)) for x in leaves)
    tree["seed"] = 0
    tree.pop("gate")  # no program knows it
    if config.data.augment:
        transforms = tree["data"]["augment"].values()
        tree["data"]["augment"] = json.dumps([[keys.pop("name"), keys] for keys in transforms])
    return digest_tree(tree)
