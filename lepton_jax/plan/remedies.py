"""Proposes what could make a step fit that does not: changes of the config, to be tried out."""

import itertools
from collections.abc import Iterator
from typing import Any

from lepton_jax.config.config import Config

Change = dict[str, Any]
"""`{'accumulate': 2, 'model.remat': True}`."""


def flags_of(change: Change) -> str:
    """Writes a change as flags of a command line."""
    pairs = (
        (f"{path}.{key}", inner)
        for path, value in change.items()
        for key, inner in (value.items() if isinstance(value, dict) else [("", value)])
    )
    return " ".join(f"--config.{path.rstrip('.')}={value}" for path, value in pairs)


def remedy_rounds(config: Config, devices: int) -> Iterator[list[Change]]:
    """Yields single changes, then pairs, then all of them together.

    Try a round when nothing of those before did fit. In a round that comes first which changes no
    numbers and costs least time.
    """
    single = [
        *_rematerialize(config),
        *_shard_more(config, devices),
        *_accumulate(config),
        *_lower_precision(config),
    ]
    yield single
    pairs = itertools.combinations(single, 2)
    yield [a | b for a, b in pairs if not a.keys() & b.keys()]
    most: Change = {}
    for change in single:
        most |= change
    if len(most) > 2:
        yield [most]


def _rematerialize(config: Config) -> Iterator[Change]:
    """Recomputes activations in the backward pass (rematerialization), where the model can."""
    if config.model.keys.get("remat") == "none":
        yield {"model.remat": "dots"}
        yield {"model.remat": "full"}


def _shard_more(config: Config, devices: int) -> Iterator[Change]:
    """Shards parameters and optimizer state over more devices."""
    if config.strategy.name != "mesh":
        yield {"strategy": {"name": "mesh", "fsdp": devices}}
        return
    keys = config.strategy.keys
    fsdp = devices // keys["tensor"]
    if keys["fsdp"] < fsdp:
        yield {"strategy": {**keys, "name": "mesh", "data": 1, "fsdp": fsdp}}


def _accumulate(config: Config) -> Iterator[Change]:
    """Takes half or a quarter of a step's examples at a time (gradient accumulation)."""
    for factor in (2, 4):
        if config.batch_size % (factor * config.accumulate) == 0:
            yield {"accumulate": factor * config.accumulate}


def _lower_precision(config: Config) -> Iterator[Change]:
    """Computes in bfloat16."""
    if config.precision == "float32":
        yield {"precision": "bfloat16"}
