"""What a config measures: `valid` while it trains, `test` once at the end, and further `evals`.

Selection, early stopping and schedules may see `during`; they never see `final`.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from lepton_jax.config.unmeasured import check_gate_metrics, not_measured, not_reported
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.evaluation.evaluator import Evaluator, scalar_results
from lepton_jax.evaluation.program import EvaluatedProgram, State
from lepton_jax.placement.mesh import BatchPlacement


class Evaluations:
    """The evaluations of one program: on the splits of its data and on its config's `evals`.

    `evals`: the data of each of `config.evals`, by name (`training.build.load_evals`).
    """

    def __init__(
        self,
        program: EvaluatedProgram,
        placement: BatchPlacement,
        splits: Mapping[str, Columns],
        evals: Mapping[str, Columns],
    ):
        self._program, self._placement = program, placement
        self._splits, self._evals = splits, evals
        self._final_names: list[str] = []
        """What is measured at the end, 'test/accuracy', as `try_out` has found."""

    def placed_on(self, placement: BatchPlacement) -> "Evaluations":
        """Returns the same evaluations, computed on another placement."""
        return Evaluations(self._program, placement, self._splits, self._evals)

    def during(self, state: State) -> dict[str, float]:
        """Measures every split but `test`: `{'valid/loss': ...}`, as the record keeps it."""
        return recorded_scalars(
            {
                name: measure(state, columns)
                for name, (measure, columns) in self.while_training.items()
            }
        )

    def final(self, state: State) -> dict[str, dict[str, Any]]:
        """Measures `test` and the evals on it: `{'test': {'accuracy': ..., 'confusion': ...}}`."""
        return {name: measure(state, columns) for name, (measure, columns) in self.at_end.items()}

    def split(self, state: State, name: str) -> dict[str, Any]:
        """Measures one split of the run's own source, or one of `config.evals`.

        Raises:
          UserError: when there is none of that name.
        """
        if name in self._evals:
            return self._evaluator(name)(state, self._evals[name])
        if name not in self._splits:
            names = [*self._splits, *self._evals]
            raise UserError(
                f"there is no split {name!r}{did_you_mean(name, names)}; there are: "
                f"{', '.join(names)}"
            )
        return self._default(state, self._splits[name])

    @cached_property
    def while_training(self) -> dict[str, tuple[Evaluator, Columns]]:
        """The evaluator and the examples of each name that `during` measures."""
        return self._select("valid", lambda split: split != "test")

    @cached_property
    def at_end(self) -> dict[str, tuple[Evaluator, Columns]]:
        """The evaluator and the examples of each name that `final` measures."""
        return self._select("test", lambda split: split == "test")

    def try_out(self, fresh_state: Callable[[], State]) -> None:
        """Traces every evaluation, and has the metrics make results, before the first step.

        `fresh_state`: returns a fresh state, for a metric that fails on made-up numbers.

        Raises:
          UserError: when a part of the user's own fails, or what `best.metric` or `gate` name is
            not measured.
        """
        names = self._result_names(self.while_training, fresh_state)
        self._final_names = self._result_names(self.at_end, fresh_state)
        config = self._program.config
        metric = config.best.metric
        if config.early_stopping and not names:
            raise UserError(
                "early_stopping: nothing is measured while training, as the data has no split "
                "'valid'; expected data.valid_fraction above 0"
            )
        if names and metric not in names:
            raise not_measured(metric, names)
        check_gate_metrics(config.gate, [*names, *self._final_names])

    def check_reported(self, metric: str) -> None:
        """Checks, once `try_out` was called, that `test/METRIC` is measured at the end.

        Raises:
          UserError: when it is not.
        """
        there = [n.removeprefix("test/") for n in self._final_names if n.startswith("test/")]
        if metric not in there:
            raise not_reported(metric, there)

    def _result_names(
        self,
        evaluations: Mapping[str, tuple[Evaluator, Columns]],
        fresh_state: Callable[[], State],
    ) -> list[str]:
        """Lists the names of the numbers that these evaluations give, 'valid/loss'."""
        return [
            f"{name}/{key}"
            for name, (measure, columns) in evaluations.items()
            for key in measure.names(columns, fresh_state)
        ]

    @cached_property
    def _default(self) -> Evaluator:
        """Measures by the config's `metrics`."""
        return self._evaluator_of(self._program.config.metrics)

    def _evaluator(self, name: str) -> Evaluator:
        """Returns what measures one of `config.evals`: its own metrics, or the config's."""
        metrics = self._program.config.evals[name].metrics
        return self._evaluator_of(metrics) if metrics else self._default

    def _evaluator_of(self, metrics: Mapping[str, Any]) -> Evaluator:
        return Evaluator(self._program, self._placement, self._program.scoring.metrics(metrics))

    def _select(
        self, split: str, wanted: Callable[[str], bool]
    ) -> dict[str, tuple[Evaluator, Columns]]:
        """Selects the run's own `split`, and those of `config.evals` whose split is `wanted`."""
        sections = self._program.config.evals
        selected = {split: (self._default, self._splits[split])} if split in self._splits else {}
        for name, columns in self._evals.items():
            if wanted(sections[name].split):
                selected[name] = (self._evaluator(name), columns)
        return selected


def recorded_scalars(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Flattens results by split to numbers as the record keeps them: `{'valid/loss': ...}`."""
    return {
        f"{name}/{key}": value
        for name, of_split in results.items()
        for key, value in scalar_results(of_split).items()
    }
