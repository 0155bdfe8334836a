"""Finds a learning rate by a sweep: the run's own steps at a rate that grows exponentially.

The learning rate range test of Smith, "Cyclical Learning Rates for Training Neural Networks", WACV
2017. Nothing but the schedule differs from the run: data, model, optimizer and placement are its
own.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optax

from lepton_jax.cluster.processes import Processes
from lepton_jax.config.config import Config
from lepton_jax.config.schema import PositiveFloat
from lepton_jax.config.user_code import blaming_users_code
from lepton_jax.config.validation import change_config
from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.plots.rate_sweep import draw_rate_sweep
from lepton_jax.training import init_from, loop
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.feed import build_feed, fits_on_device
from lepton_jax.training.runtime import runtime
from lepton_jax.training.schedules import Steps
from lepton_jax.training.state import State, Totals
from lepton_jax.training.stopping import listen_for_stop

NEVER = 1e12
"""A period in steps that no sweep reaches."""
WINDOWS = 20
"""The steps of a sweep over those that a smoothed loss remembers."""
DIVERGED = 4.0
"""The sweep ends when its smoothed loss is so many times the least one."""
EDGE = 5
"""Steps at the begin of a sweep at which its smoothed loss is not trusted."""


@dataclass(frozen=True)
class RateSweep:
    """A sweep under one seed: the rate and the loss of each step, until it diverged."""

    seed: int
    rates: np.ndarray
    """Learning rates [N], rising."""
    losses: np.ndarray
    """Training losses [N] of one batch each."""
    diverged: bool


@dataclass(frozen=True)
class RateCurve:
    """The loss over the learning rate, and the rate that it suggests."""

    rates: tuple[float, ...]
    losses: Mapping[int, tuple[float, ...]]
    """The smoothed losses at these rates, by seed."""
    diverged: bool
    suggestion: float | None
    """The rate at which the mean of the losses falls fastest; None where it does not fall."""
    tenth: float | None
    """A tenth of the rate with the least loss."""


def find_rate(
    config: Config, start: float, end: float, steps: int, seeds: int, path: str
) -> RateCurve:
    """Sweeps the rate under the config's seed and the following ones, and draws a picture.

    Raises:
      UserError: as `sweep_rates`; or when there are too few steps to see anything.
      WorkError: when the loss is not finite at the lowest rate.
    """
    if steps < 4 * EDGE:
        raise UserError(f"lr_find: --steps={steps}: expected {4 * EDGE} or more")
    sweeps = [
        sweep_rates(dataclasses.replace(config, seed=config.seed + i), start, end, steps)
        for i in range(seeds)
    ]
    length = min(len(sweep.losses) for sweep in sweeps)
    if length < EDGE:
        raise WorkError(f"the loss is not finite after {length} steps at a rate of {start:g}")
    rates = sweeps[0].rates[:length]
    mean = np.mean([s.losses[:length] for s in sweeps], axis=0)
    steepest, least = suggest_rate(rates, mean, steps)
    marks = {"falls fastest": steepest, "a tenth of the least": least and least / 10}
    draw_rate_sweep(
        {f"seed {s.seed}": (s.rates, s.losses, smooth_losses(s.losses, steps)) for s in sweeps},
        {name: rate for name, rate in marks.items() if rate},
        path,
    )
    return RateCurve(
        rates=tuple(rates.tolist()),
        losses={s.seed: tuple(smooth_losses(s.losses[:length], steps).tolist()) for s in sweeps},
        diverged=all(s.diverged for s in sweeps),
        suggestion=steepest,
        tenth=least and least / 10,
    )


def exponential(total: int, steps: Steps, *, start: PositiveFloat) -> optax.Schedule:
    """Makes a schedule: from `start` to 1, by the same factor at each step."""
    return lambda step: start ** (1 - step / max(1, total - 1))


def sweep_rates(config: Config, start: float, end: float, steps: int) -> RateSweep:
    """Takes up to `steps` steps of a run while the learning rate grows from `start` to `end`.

    Nothing is written. The sweep ends early when the loss diverges.

    Raises:
      UserError: as `build_run` does; or when the task records no loss.
    """
    swept = change_config(
        config,
        {
            "train_for": f"{steps} steps",
            "optimizer.learning_rate": end,
            "schedule.name": f"{__name__}:exponential",
            "schedule.start": start / end,
            "early_stopping": None,
            "profile": None,
        },
        "the config of the sweep",
    )
    with runtime(config.precision), listen_for_stop(Processes()) as stop:
        built = build_run(swept)
        if "loss" not in built.program.training.sum_names:
            names = ", ".join(built.program.training.sum_names)
            raise UserError(f"lr_find reads train/loss, and the task records {names}")
        with blaming_users_code("the sweep"):
            return _sweep(built, stop)


def _sweep(built: BuiltRun, stop: Callable[[int], bool]) -> RateSweep:
    program, layout = built.program, built.layout
    watch = _Losses(built, stop)
    state, report = init_from.initial_state(layout)
    if report:
        say(report)
    feed = build_feed(layout, built.data, 0, fits_on_device(program, built.data))
    try:
        loop.run_steps(
            feed, state, layout.empty_sums(), layout.empty_sums(),
            range(program.durations.total_steps), loop.Every(1, NEVER, NEVER), watch,
        )  # fmt: skip
    finally:
        feed.close()
    rates, losses = np.asarray(watch.rates), np.asarray(watch.losses)
    return RateSweep(program.config.seed, rates, losses, watch.diverged)


class _Losses:
    """The loop's observer in a sweep: keeps the loss of each step, and tells when it diverges."""

    def __init__(self, built: BuiltRun, stop: Callable[[int], bool]):
        self._training, self._stop = built.program.training, stop
        self._steps = built.program.durations.total_steps
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.diverged = False

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        if self.diverged or sums.bad_step >= 0:
            self.diverged = True  # a state that is not finite no longer changes
            return
        means: Mapping[str, float] = self._training.means(sums.values)
        self.rates.append(means["train/learning_rate"])
        self.losses.append(means["train/loss"])
        self.diverged = has_diverged(self.losses, self._steps)

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Times are not kept."""

    def evaluate(self, step: int, state: State) -> loop.AfterEvaluation:
        return loop.AfterEvaluation(save=False, stop=False)

    def save_checkpoint(self, step: int, state: State, sums: Totals) -> None:
        """A sweep leaves no checkpoint."""

    def should_stop(self, step: int) -> bool:
        return self.diverged or self._stop(step)


def has_diverged(losses: Sequence[float], steps: int) -> bool:
    """Tells whether the smoothed loss has come to `DIVERGED` times the least one.

    `steps`: of the whole sweep, which decide on the smoothing.
    """
    smoothed = _average(np.asarray(losses, np.float64), steps)
    least = smoothed.min()
    return len(losses) > EDGE and bool(smoothed[-1] > least + (DIVERGED - 1) * abs(least))


def smooth_losses(losses: np.ndarray, steps: int) -> np.ndarray:
    """Smooths losses [N] by exponential averages with bias correction (Kingma & Ba 2015), the mean
    of one that runs forwards and one that runs backwards, so that the curve does not lag.

    A loss that is further above the first ones than these are above the least is cut to that: what
    a step comes to that diverges says nothing of the steps before it.
    """
    first = losses[:EDGE].mean()
    cut = np.minimum(losses, 2 * first - losses.min())
    return (_average(cut, steps) + _average(cut[::-1], steps)[::-1]) / 2


def _average(losses: np.ndarray, steps: int) -> np.ndarray:
    keep = max(0.0, 1 - WINDOWS / steps)
    averages, average = np.empty(len(losses)), 0.0
    for i, loss in enumerate(losses):
        average = keep * average + (1 - keep) * loss
        averages[i] = average / (1 - keep ** (i + 1))
    return averages


def suggest_rate(
    rates: np.ndarray, losses: np.ndarray, steps: int
) -> tuple[float | None, float | None]:
    """Finds the rate at which the smoothed loss falls fastest over the logarithm of the rate, and
    the one at which it is least.

    Both are None where the loss does not fall by more than its own noise.

    `rates`, `losses`: [N] of a sweep that was to take `steps`.
    """
    smoothed = smooth_losses(losses, steps)
    least = int(smoothed.argmin())
    noise = float(np.std(losses[: least + 1] - smoothed[: least + 1]))
    if least < 2 * EDGE or smoothed[:EDGE].mean() - smoothed[least] <= noise:
        return None, None
    slopes = np.gradient(smoothed, np.log(rates))
    steepest = EDGE + int(slopes[EDGE : least + 1].argmin())
    return float(rates[steepest]), float(rates[least])
