"""The command `lr_find`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText, PositiveFloat, PositiveInt
from lepton_jax.console import format_command
from lepton_jax.errors import UserError


@dataclass(frozen=True)
class FoundRate:
    """Sweeps over the learning rate, and the rate that they suggest."""

    path: str
    """The picture."""
    rates: tuple[float, ...]
    losses: Mapping[int, tuple[float, ...]]
    """The smoothed losses at these rates, by seed."""
    diverged: bool
    suggestion: float | None
    tenth: float | None
    """A tenth of the rate with the least loss."""
    config_rate: float
    next: str
    """The command that trains with the suggestion."""

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "suggestion": self.suggestion,
            "tenth_of_least": self.tenth,
            "config": self.config_rate,
            "diverged": self.diverged,
            "rates": list(self.rates),
            "losses": {str(seed): list(losses) for seed, losses in self.losses.items()},
        }

    def __str__(self) -> str:
        how = "until the loss diverged" if self.diverged else "to the end"
        swept = f"{len(self.rates)} steps from {self.rates[0]:.1e} to {self.rates[-1]:.1e}, {how}"
        lines = [f"{swept}: {self.path}"]
        if self.suggestion is None:
            lines.append(
                "No suggestion: the loss does not fall by more than its noise. Try more --steps, "
                "another range (--start, --end), or debug the model on a few examples"
            )
            return "\n".join(lines)
        lines += [
            f"suggestion: {self.suggestion:.2g}, where the loss falls fastest (Smith 2017); "
            f"a tenth of the rate with the least loss: {self.tenth:.2g}; "
            f"the config has {self.config_rate:g}",
            f"next: {self.next}",
        ]
        return "\n".join(lines)


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
        diverged=found.diverged,
        suggestion=found.suggestion,
        tenth=found.tenth,
        config_rate=resolved.optimizer.learning_rate,
        next=_train_with(found.suggestion, config, overrides or {}),
    )


def _train_with(rate: float | None, config: Any, overrides: Mapping[str, Any]) -> str:
    """Writes the command that trains with a rate; from Python, the override."""
    changes = {**overrides, "optimizer.learning_rate": f"{rate:.2g}" if rate else ""}
    if not isinstance(config, str):
        return f"overrides={changes}"
    name = os.path.basename(config).partition(".")[0]
    keys = {f"config.{key}": value for key, value in changes.items()}
    return format_command("train", config=config, workdir=f"runs/{name}", **keys)
