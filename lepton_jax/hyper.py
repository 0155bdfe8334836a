"""The numbers of a config that trials may vary without a new program."""

from typing import Any

from lepton_jax.config import Config, component_keys
from lepton_jax.schema import HYPER
from lepton_jax.validation import calls


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
        "ema": {"decay": config.ema} if config.ema else {},
    }
