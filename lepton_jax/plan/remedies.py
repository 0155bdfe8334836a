"""What could make a step fit that does not. Each is a change of the config, to be tried out."""

import itertools
from collections.abc import Iterator
from typing import Any

from lepton_jax.config.config import Config

Change = dict[str, Any]
"""`{'accumulate': 2, 'model.remat': True}`."""


def flags_of(change: Change) -> str:
    """As a command line takes it."""
    pairs = (
        (f"{path}.{key}", inner)
        for path, value in change.items()
        for key, inner in (value.items() if isinstance(value, dict) else [("", value)])
    )
    return " ".join(f"--config.{path.rstrip('.')}={value}" for path, value in pairs)


def remedy_rounds(config: Config, devices: int) -> Iterator[list[Change]]:
    """Single changes, then pairs, then all together: a round is tried if those before did not fit.

    Within a round first what costs no numbers and least time.
    """
    single = [*_remat(config), *_wider(config, devices), *_smaller(config), *_narrower(config)]
    yield single
    pairs = itertools.combinations(single, 2)
    yield [a | b for a, b in pairs if not a.keys() & b.keys()]
    most: Change = {}
    for change in single:
        most |= change
    if len(most) > 2:
        yield [most]


def _remat(config: Config) -> Iterator[Change]:
    """Activations computed again in the backward pass, where the model can."""
    if config.model.keys.get("remat") == "none":
        yield {"model.remat": "dots"}
        yield {"model.remat": "full"}


def _wider(config: Config, devices: int) -> Iterator[Change]:
    """Parameters and optimizer state spread over more devices."""
    if config.strategy.name != "mesh":
        yield {"strategy": {"name": "mesh", "fsdp": devices}}
        return
    keys = config.strategy.keys
    fsdp = devices // keys["tensor"]
    if keys["fsdp"] < fsdp:
        yield {"strategy": {**keys, "name": "mesh", "data": 1, "fsdp": fsdp}}


def _smaller(config: Config) -> Iterator[Change]:
    """Half and a quarter of the examples at a time, with as many in a step."""
    for factor in (2, 4):
        if config.batch_size % (factor * config.accumulate) == 0:
            yield {"accumulate": factor * config.accumulate}


def _narrower(config: Config) -> Iterator[Change]:
    if config.precision == "float32":
        yield {"precision": "bfloat16"}
