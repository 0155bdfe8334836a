"""The numbers of a config that trials may vary without a new program."""

import dataclasses
import hashlib
import json
from typing import Any

from lepton_jax.config.components import Component, component_keys
from lepton_jax.config.config import Config, OptimizerConfig, plain
from lepton_jax.config.schema import HYPER
from lepton_jax.config.validation import calls


def hyper_of(config: Config) -> dict[str, Any]:
    """The numbers of a config that trials may vary, by the section that consumes them."""
    optimizer = config.optimizer
    rates: dict[str, Any] = {"learning_rate": optimizer.learning_rate}
    if optimizer.weight_decay:
        rates["weight_decay"] = optimizer.weight_decay
    marked = component_keys("optimizer", optimizer.name)
    rates |= {k: v for k, v in optimizer.keys.items() if HYPER in marked[k].marks and v}
    rates["groups"] = {
        name: {k: v for k, v in (("lr", g.learning_rate), ("wd", g.weight_decay)) if v}
        for name, g in optimizer.groups.items()
    }
    return {
        "model": config.model.hyper(),
        "task": config.task.hyper(),
        "optimizer": rates,
        "augment": [call.hyper() for call in calls("transform", config.data.augment)],
        "lora": {"alpha": config.lora.alpha} if config.lora else {},
        "ema": {"decay": config.ema} if config.ema else {},
    }


def program_key(config: Config) -> str:
    """Twelve hex digits: configs that share them share one compiled program and one loop.

    They may differ in the seed and in every number of `hyper_of`; a number that is off in one of
    them (exactly zero) makes another program.
    """
    blank = dataclasses.replace(
        config,
        seed=0,
        ema=1.0 if config.ema else 0.0,
        model=_blank(config.model),
        task=_blank(config.task),
        optimizer=_blank_optimizer(config.optimizer),
        lora=config.lora and dataclasses.replace(config.lora, alpha=1.0),
        data=dataclasses.replace(config.data, augment=_blank_calls(config.data.augment)),
    )
    text = json.dumps(blank.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _blank(chosen: Component) -> Component:
    """With every number that may vary replaced by 1."""
    varied = dict.fromkeys(chosen.hyper(), 1.0)
    return dataclasses.replace(chosen, keys={**chosen.keys, **varied})


def _blank_optimizer(optimizer: OptimizerConfig) -> OptimizerConfig:
    marked = component_keys("optimizer", optimizer.name)
    varied = {k: 1.0 for k, v in optimizer.keys.items() if HYPER in marked[k].marks and v}

    def on(number: float) -> float:
        return 1.0 if number else 0.0

    return dataclasses.replace(
        optimizer,
        learning_rate=1.0,
        weight_decay=on(optimizer.weight_decay),
        keys={**optimizer.keys, **varied},
        groups={
            name: dataclasses.replace(
                g, learning_rate=on(g.learning_rate), weight_decay=on(g.weight_decay)
            )
            for name, g in optimizer.groups.items()
        },
    )


def _blank_calls(pipeline: str) -> str:
    """An augmentation as its parts, each with its numbers that may vary blank."""
    parts = [_blank(call) for call in calls("transform", pipeline)]
    return json.dumps([[part.name, plain(part.keys)] for part in parts]) if parts else ""
