"""The programs of an experiment, built once each: what does not fit shows before a trial starts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from lepton_jax.ablation.question.trials import Trial, group_by_program
from lepton_jax.errors import UserError
from lepton_jax.training import loop
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.runtime import runtime


@contextmanager
def build_program(trial: Trial, metric: str) -> Iterator[BuiltRun]:
    """The trial's program in the numerics it runs in.

    Raises:
      UserError: naming the variant, when it does not fit or does not measure `metric` on `test`.
    """
    with runtime(trial.config.precision):
        try:
            prepared = build_run(trial.config)
            prepared.evaluations.check_reported(metric)
        except UserError as e:
            raise UserError(f"variant {trial.variant!r}: {e}") from None
        yield prepared


class BuiltPrograms:
    """Those that were built, and when their trials can be looked at."""

    def __init__(self, metric: str):
        """`metric`: what the report will show of each trial."""
        self._metric = metric
        self._lengths: dict[str, tuple[int, list[float]]] = {}

    def check(self, trials: Sequence[Trial]) -> None:
        """Builds what has not been built. Raises `UserError` naming a variant that does not fit."""
        for key, group in group_by_program(trials).items():
            if key not in self._lengths:
                with build_program(group[0], self._metric) as prepared:
                    program, config = prepared.program, group[0].config
                    due = [
                        program.durations.period(p)
                        for p in (config.log_every, config.evaluate_every)
                    ]
                    self._lengths[key] = program.durations.total_steps, due

    def rungs(self, trial: Trial, shares: Iterable[float]) -> tuple[int, ...]:
        """For each share of the trial's run the first step from there on at which it has logged
        and evaluated; where there is none before the end, the end.
        """
        self.check([trial])
        total, periods = self._lengths[trial.program]

        def seen(step: int) -> bool:
            return all(loop.is_due(step, period, total) for period in periods)

        starts = [max(1, round(share * total)) for share in shares]
        return tuple(next(s for s in range(start, total + 1) if seen(s)) for start in starts)
