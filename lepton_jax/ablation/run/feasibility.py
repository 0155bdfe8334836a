"""Whether an experiment's trials can run: its programs, each built once before a trial starts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from lepton_jax.ablation.question.trials import Trial, group_by_program
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.training import loop
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.init_from import check_warm_start
from lepton_jax.training.lines import data_line
from lepton_jax.training.runtime import runtime


@contextmanager
def build_trial(trial: Trial, metric: str) -> Iterator[BuiltRun]:
    """Builds a trial's data and program, within the precision that the trial runs in.

    `metric`: what the report will show of the trial, measured on `test`.

    Raises:
      UserError: naming the variant, when its config does not fit its data or does not measure
        `metric`.
    """
    with runtime(trial.config.precision):
        try:
            built = build_run(trial.config)
            built.evaluations.check_reported(metric)
            check_warm_start(built.layout)
        except UserError as e:
            raise e.retold(f"variant {trial.variant!r}: {e}") from None
        yield built


class BuiltPrograms:
    """The programs that were built, and the steps at which their trials log and evaluate."""

    def __init__(self, metric: str):
        """Begins with no program built. `metric`: as in `build_trial`."""
        self._metric = metric
        self._durations: dict[str, tuple[int, list[float]]] = {}
        """By program: its steps, and the periods of logging and evaluation in steps."""

    def check(self, trials: Sequence[Trial]) -> None:
        """Builds the programs of trials, except those that were built before.

        Raises:
          UserError: as `build_trial` does.
        """
        for key, group in group_by_program(trials).items():
            if key not in self._durations:
                with build_trial(group[0], self._metric) as built:
                    if not self._durations:
                        say(data_line(built.data))
                    durations, config = built.program.durations, group[0].config
                    intervals = (config.log_every, config.evaluate_every)
                    periods = [durations.period(interval) for interval in intervals]
                    self._durations[key] = durations.total_steps, periods

    def rung_steps(self, trial: Trial, shares: Iterable[float]) -> tuple[int, ...]:
        """Finds the steps at which a search compares a trial.

        For each share of the trial's run, the first step from there on at which it has logged and
        evaluated: the last step of the run, at the latest.
        """
        self.check([trial])
        total, periods = self._durations[trial.program]

        def is_measured(step: int) -> bool:
            return all(loop.is_due(step, period, total) for period in periods)

        starts = [max(1, round(share * total)) for share in shares]
        return tuple(
            next(step for step in range(start, total + 1) if is_measured(step)) for start in starts
        )
