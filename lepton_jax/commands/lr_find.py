"""The command `lr_find`."""

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText, PositiveFloat, PositiveInt
from lepton_jax.console import format_command
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.config.config import Config


APART = 2.0
"""A suggestion that differs from the config's rate by a larger factor is not preferred to it."""


@dataclass(frozen=True)
class FoundRate:
    """Sweeps over the learning rate, and the rate that they suggest."""

    path: str
    """The picture."""
    rates: tuple[float, ...]
    losses: Mapping[int, tuple[float, ...]]
    """The smoothed losses at these rates, by seed."""
    raw_losses: Mapping[int, tuple[float, ...]]
    """The losses of one batch each at these rates, by seed."""
    diverged: bool
    suggestion: float | None
    tenth: float | None
    """A tenth of the rate with the least loss; None where the loss does not fall."""
    config_rate: float
    next: str
    """The command that trains with the suggestion; that compares it with the config's rate, where
    they are apart; or without a suggestion tries rates around `tenth`."""

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "suggestion": self.suggestion,
            "tenth_of_least": self.tenth,
            "config": self.config_rate,
            "diverged": self.diverged,
            "rates": list(self.rates),
            "losses": {str(seed): list(losses) for seed, losses in self.losses.items()},
            "raw_losses": {str(seed): list(losses) for seed, losses in self.raw_losses.items()},
        }

    def __str__(self) -> str:
        how = "until the loss diverged" if self.diverged else "to the end"
        swept = f"{len(self.rates)} steps from {self.rates[0]:.1e} to {self.rates[-1]:.1e}, {how}"
        lines = [f"{swept}: {self.path}"]
        if self.tenth is None:
            lines.append(
                "no suggestion: the loss does not fall by more than its noise. Try more --steps or "
                "--seeds, another range (--start, --end), or debug the model on a few examples"
            )
            return "\n".join(lines)
        if self.suggestion is None:
            lines += [
                "no clear suggestion: the loss falls little beside its noise, or fastest far below "
                f"the rate of the least loss. The loss is least at {10 * self.tenth:.1e}; try a "
                f"few rates around a tenth of it, or more --seeds; the config has "
                f"{self.config_rate:g}",
                f"next: {self.next}",
            ]
            return "\n".join(lines)
        lines += [
            f"suggestion: {self.suggestion:.2g}, where the loss falls fastest (Smith 2017); "
            f"a tenth of the rate with the least loss: {self.tenth:.2g}",
            self._beside_the_config(self.suggestion),
            f"next: {self.next}",
        ]
        return "\n".join(lines)

    def _beside_the_config(self, rate: float) -> str:
        has, ratio = f"the config has {self.config_rate:g}", self.config_rate / rate
        if not _are_apart(rate, self.config_rate):
            return has
        times = f"{ratio:.2g} times as much" if ratio > 1 else f"{1 / ratio:.2g} times less"
        return f"{has}, {times}; a sweep cannot say which is better"


@command
def lr_find(
    config: Any,
    *,
    overrides: Mapping[str, str] | None = None,
    start: PositiveFloat = 1e-7,
    end: PositiveFloat = 10.0,
    steps: PositiveInt = 200,
    seeds: PositiveInt = 1,
    out: PathText = "lr_find.png",
) -> FoundRate:
    """Finds a learning rate: sweeps it over some steps of training, and draws the loss.

    --config=FILE.py[:ARG]          the recipe; its schedule is replaced, all else is as in `train`
    --config.path.to.key=value      overrides one key of it
    --start=1e-7 --end=10           the first and the last learning rate
    --steps=200                     steps of the sweep, which ends early when the loss diverges
    --seeds=1                       sweeps, under the config's seed and those that follow it
    --out=lr_find.png               where the picture goes; nothing else is written

    Examples:
      python launch.py lr_find --config=digits_cnn
      python launch.py lr_find --config=digits_cnn --seeds=3 \\
          --config.optimizer.name=sgd --out=sgd.png
    """
    from lepton_jax.cli.looks import look_for_picture
    from lepton_jax.config.config_file import resolve_config

    if not 0 < start < end:
        raise UserError(f"lr_find: --start={start:g} --end={end:g}: expected start below end")
    look_for_picture("lr_find", out)
    resolved, _ = resolve_config(config, overrides or {})

    from lepton_jax.training.lr_find import find_rate

    found = find_rate(resolved, start, end, steps, seeds, out)
    return FoundRate(
        path=out,
        rates=found.rates,
        losses=found.losses,
        raw_losses=found.raw_losses,
        diverged=found.diverged,
        suggestion=found.suggestion,
        tenth=found.tenth,
        config_rate=resolved.optimizer.learning_rate,
        next=_next_command(found.suggestion, found.tenth, config, overrides or {}, resolved),
    )


def _next_command(
    rate: float | None,
    tenth: float | None,
    config: Any,
    overrides: Mapping[str, Any],
    resolved: "Config",
) -> str:
    """Writes the command that trains with a rate, or compares rates by whole runs.

    Where the rate and that of the config are apart, these are both, one between them, and one
    beyond the config's. Without a rate they lie around `tenth`, a tenth of that with the least
    loss. From Python it writes the override.
    """
    from lepton_jax.tracking.new_workdir import name_run

    if tenth is None:
        return ""
    key = "optimizer.learning_rate"
    if not isinstance(config, str):
        return f"overrides={ {**overrides, key: f'{rate or tenth:.2g}'} }"
    name = name_run(config, resolved)
    keys = {f"config.{k}": value for k, value in overrides.items() if k != key}
    own = resolved.optimizer.learning_rate
    if rate and not _are_apart(rate, own):
        keys[f"config.{key}"] = f"{rate:.2g}"
        return format_command("train", config=config, workdir=_unused(f"runs/{name}"), **keys)
    if rate:
        factor = math.sqrt(own / rate)
        between, beyond = (f"{x:.2g}" for x in (rate * factor, own * factor))
        rates = ",".join([f"{rate:.2g}", between, f"{own:g}", beyond])
    else:
        rates = ",".join(f"{factor * tenth:.1e}" for factor in (0.3, 1, 3))
    workdir = _unused(f"runs/{name}-rates")
    return format_command("ablate", config=config, workdir=workdir, **keys, tune=f"{key}={rates}")


def _are_apart(rate: float, own: float) -> bool:
    return own > 0 and not 1 / APART <= own / rate <= APART


def _unused(workdir: str) -> str:
    """Returns a workdir that holds nothing: this one, or the first of WORKDIR-2, WORKDIR-3 ..."""
    names = itertools.chain([workdir], (f"{workdir}-{i}" for i in itertools.count(2)))
    return next(name for name in names if not os.path.exists(name))
