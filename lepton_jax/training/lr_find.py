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
BEGUN = 0.1
"""The part of its whole fall at which the loss has begun to fall."""
CLEAR = 2.0
"""A fall is clear when it is more than so many times the noise of one step's loss."""
SEEN = 1.0
"""The least loss is one, and not noise, when it lies so many times that noise below the first."""
FAR = 30.0
"""A steepest fall at a rate so many times below that of the least loss is not believed."""


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
    raw_losses: Mapping[int, tuple[float, ...]]
    """The losses of one batch each at these rates, by seed."""
    diverged: bool
    suggestion: float | None
    """The rate at which the mean of the losses falls fastest; None where the fall is not clear."""
    tenth: float | None
    """A tenth of the rate with the least loss; None where the loss does not fall."""


@dataclass(frozen=True)
class Descent:
    """The fall of a sweep's loss to its least one."""

    steepest: float | None
    """The rate at which the loss falls fastest; None where the fall is not clear."""
    least: float | None
    """The rate of the least loss; None where the loss does not fall."""
    memory: float
    """The steps that the smoothed loss remembers, more of them where the noise is large."""


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
    found = find_descent(rates, mean, steps)
    steepest, tenth = found.steepest, found.least and found.least / 10
    marks = {"falls fastest": steepest, "a tenth of the least": tenth}
    smoothed = {s.seed: smooth_losses(s.losses, found.memory) for s in sweeps}
    draw_rate_sweep(
        {f"seed {s.seed}": (s.rates, s.losses, smoothed[s.seed]) for s in sweeps},
        {name: rate for name, rate in marks.items() if rate},
        path,
    )
    return RateCurve(
        rates=tuple(rates.tolist()),
        losses={seed: tuple(curve[:length].tolist()) for seed, curve in smoothed.items()},
        raw_losses={s.seed: tuple(s.losses[:length].tolist()) for s in sweeps},
        diverged=all(s.diverged for s in sweeps),
        suggestion=steepest,
        tenth=tenth,
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
    smoothed = _average(np.asarray(losses, np.float64), steps / WINDOWS)
    least = smoothed.min()
    return len(losses) > EDGE and bool(smoothed[-1] > least + (DIVERGED - 1) * abs(least))


def smooth_losses(losses: np.ndarray, memory: float) -> np.ndarray:
    """Smooths losses [N] by averages whose weights fall exponentially to both sides, so that the
    curve does not lag.

    What a sweep comes to that diverges says nothing of lower rates: the steps from which on every
    loss is closer to the first ones than to the least do not count for those before. Nor do single
    bad batches: a loss that is further above the first ones than these are above the least is cut
    to that.

    `memory`: steps to each side after which a weight has fallen to about a third.
    """
    first = _first_level(losses, memory)
    cut = np.minimum(losses, 2 * first - losses.min())
    smoothed = _average_both_sides(cut, memory)
    level = max((first + float(smoothed.min())) / 2, float(cut.min()))
    end = int(np.flatnonzero(cut <= level)[-1]) + 1
    return np.concatenate([_average_both_sides(cut[:end], memory), smoothed[end:]])


def _average_both_sides(losses: np.ndarray, memory: float) -> np.ndarray:
    away = np.abs(np.subtract.outer(np.arange(len(losses)), np.arange(len(losses))))
    weights: np.ndarray = np.exp(-away / memory)
    return weights @ losses / weights.sum(axis=1)


def _first_level(losses: np.ndarray, memory: float) -> float:
    """Returns the loss at which a sweep begins: a median, which one bad batch does not move."""
    return float(np.median(losses[: max(EDGE, round(2 * memory))]))


def _average(losses: np.ndarray, memory: float) -> np.ndarray:
    """Smooths losses [N] by the steps before each, with bias correction (Kingma & Ba 2015)."""
    keep = max(0.0, 1 - 1 / memory)
    averages, average = np.empty(len(losses)), 0.0
    for i, loss in enumerate(losses):
        average = keep * average + (1 - keep) * loss
        averages[i] = average / (1 - keep ** (i + 1))
    return averages


def find_descent(rates: np.ndarray, losses: np.ndarray, steps: int) -> Descent:
    """Finds the last descent of the smoothed loss before its least one, and in it the rate at which
    the loss falls fastest over the logarithm of the rate.

    Of rates whose smoothed losses differ from the least by less than their noise, the lowest one
    counts as that of the least loss.

    The descent begins where the loss is for the last time within `BEGUN` of its whole fall below
    the first ones. Its slopes are taken over half of its length: over fewer steps, noise alone
    makes the steepest one.

    `rates`, `losses`: [N] of a sweep that was to take `steps`.
    """
    memory = steps / WINDOWS
    first, smoothed = _first_level(losses, memory), smooth_losses(losses, memory)
    least = int(smoothed.argmin())
    fall = first - float(smoothed[least])
    noise = _noise(losses[: max(least + 1, len(losses) // 2)])
    doubt = max(1.0, 10 / memory) ** 0.5  # of a sweep of few steps, which averages fewer
    if least < 2 * EDGE or fall <= max(SEEN * doubt * noise, 1e-6 * abs(first)):
        return Descent(None, None, memory)
    # An average with this memory keeps noise / (2 * memory**0.5), which is to be a 20th of the fall
    memory = max(memory, min(steps / 8, (10 * noise / fall) ** 2))
    smoothed = smooth_losses(losses, memory)
    kept = noise / (2 * memory**0.5)
    least = int(np.flatnonzero(smoothed <= smoothed.min() + kept)[0])
    before = np.flatnonzero(smoothed[: least + 1] >= first - BEGUN * fall)
    begin = int(before[-1]) if len(before) else 0
    half = max(1, (least - begin) // 4)
    centres = np.arange(max(begin, half), min(least, len(losses) - 1 - half) + 1)
    if fall <= CLEAR * doubt * noise or not len(centres):
        return Descent(None, float(rates[least]), memory)
    slopes = smoothed[centres + half] - smoothed[centres - half]
    steepest = float(rates[centres[slopes.argmin()]])
    believed = steepest * FAR >= rates[least]
    return Descent(steepest if believed else None, float(rates[least]), memory)


def _noise(losses: np.ndarray) -> float:
    """Estimates the standard deviation of one step's loss from the differences of neighbours, by
    their median, so that neither the fall nor a few bad batches count."""
    differences = np.diff(losses)
    middle = np.median(differences)
    return float(np.median(np.abs(differences - middle)) * 1.4826 / np.sqrt(2))
