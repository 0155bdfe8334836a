"""The errors of a metric that is not measured."""

from collections.abc import Sequence

from lepton_jax.config.gate_text import read_condition, read_gate_text
from lepton_jax.errors import UserError, Way, did_you_mean
from lepton_jax.nearest import find_nearest


def not_measured(metric: str, names: Sequence[str]) -> UserError:
    """Makes the error of a `best.metric` that is none of the `names` that are measured."""
    near, key = find_nearest(metric, names), "--config.best.metric"
    return UserError(
        f"best.metric = {metric!r} is not measured while training"
        f"{did_you_mean(metric, names)}; there are: {', '.join(names)}",
        instead=(key, f"{key}={near}") if near else None,
    )


def check_gate_metrics(gate: str, names: Sequence[str]) -> None:
    """Checks that each metric of a config's `gate` is one of the `names` that are measured.

    Raises:
      UserError: naming the first that is not.
    """
    for condition in read_gate_text(gate):
        metric = read_condition(condition).metric
        if metric and metric not in names:
            near = find_nearest(metric, names)
            meant = gate.replace(condition, condition.replace(metric, near)) if near else ""
            raise UserError(
                f"gate = {condition!r}: {metric!r} is not measured{did_you_mean(metric, names)}; "
                f"there are: {', '.join(names)}",
                instead=("--config.gate", f"--config.gate={meant}") if near else None,
            )


def not_reported(metric: str, there: Sequence[str]) -> UserError:
    """Makes the error of an experiment's metric that is none of those on `test`."""
    near = find_nearest(metric, there)
    held_out = Way("to hold out each fifth of the data in turn", {"folds": "5"})
    return UserError(
        f"metric = {metric!r} is not measured on 'test'{did_you_mean(metric, there)}; "
        + (f"there are: {', '.join(there)}" if there else "the data has no such split"),
        instead=("--metric", f"--metric={near}") if near else None,
        ways=() if there else [held_out],
    )
