"""What a config measures: `valid` while it trains, `test` once at the end, and further `evals`.

Selection, early stopping and schedules may see `during`; they never see `final`.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from lepton_jax.config.config import EvalConfig
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.evaluation.evaluator import Evaluator, Placed, scalar_results
from lepton_jax.training.state import State


class Evaluations:
    """The evaluations of one program on its data and on what `config.evals` names.

    Raises:
      UserError: when an evaluation names a split that its source has not.
    """

    def __init__(self, layout: Placed, data: Dataset):
        self._layout, self._program, self._data = layout, layout.program, data
        program = layout.program
        self._extra = {name: self._columns(name, e) for name, e in program.config.evals.items()}

    def during(self, state: State) -> dict[str, float]:
        """`{'valid/loss': ...}`: every split but `test`, as the record keeps it."""
        values: dict[str, float] = {}
        for name, (evaluator, columns) in self.while_training.items():
            results = scalar_results(evaluator(state, columns))
            values |= {f"{name}/{key}": value for key, value in results.items()}
        return values

    def final(self, state: State) -> dict[str, dict[str, Any]]:
        """`{'test': {'accuracy': ..., 'confusion': ...}}`, with the named evaluations."""
        return {name: measure(state, columns) for name, (measure, columns) in self.at_end.items()}

    def split(self, state: State, name: str) -> dict[str, Any]:
        """All results on one split of the run's own source, or of a named evaluation."""
        if name in self._extra:
            return self._evaluator(name)(state, self._extra[name])
        splits = self._data.splits
        if name not in splits:
            known = [*splits, *self._extra]
            raise UserError(
                f"there is no split {name!r}{did_you_mean(name, known)}; there are: "
                f"{', '.join(known)}"
            )
        return self._own(state, splits[name])

    @cached_property
    def _own(self) -> Evaluator:
        metrics = self._program.metrics(self._program.config.metrics)
        return Evaluator(self._layout, metrics)

    @cached_property
    def while_training(self) -> dict[str, tuple[Evaluator, Columns]]:
        """What `during` measures, by name, and on what."""
        return self._chosen("valid", lambda split: split != "test")

    @cached_property
    def at_end(self) -> dict[str, tuple[Evaluator, Columns]]:
        """What `final` measures, by name, and on what."""
        return self._chosen("test", lambda split: split == "test")

    def _chosen(
        self, own: str, wanted: Callable[[str], bool]
    ) -> dict[str, tuple[Evaluator, Columns]]:
        splits, evals = self._data.splits, self._program.config.evals
        chosen = {own: (self._own, splits[own])} if own in splits else {}
        for name, columns in self._extra.items():
            if wanted(evals[name].split):
                chosen[name] = (self._evaluator(name), columns)
        return chosen

    def _evaluator(self, name: str) -> Evaluator:
        metrics = self._program.config.evals[name].metrics
        if not metrics:
            return self._own
        return Evaluator(self._layout, self._program.metrics(metrics))

    def _columns(self, name: str, section: EvalConfig) -> Columns:
        data = self._data
        if section.source is not None:
            from lepton_jax.training.build import load_data

            made = data.tokenizer
            data = load_data(self._program.config, section.source, made.text if made else "")
            if data.spec != self._data.spec:
                raise UserError(
                    f"evals.{name}.source does not fit the run's own: "
                    f"{data.spec} instead of {self._data.spec}"
                )
        if section.split not in data.splits:
            there = ", ".join(data.splits)
            raise UserError(
                f"evals.{name}.split = {section.split!r}: the source has {there}"
                f"{did_you_mean(section.split, data.splits)}"
            )
        return data.splits[section.split]

    def check_best(self) -> None:
        """Raises `UserError` when `best.metric` is not among what is measured while training."""
        names, metric = self._names(self.while_training), self._program.config.best.metric
        if names and metric not in names:
            raise UserError(
                f"best.metric = {metric!r} is not measured while training"
                f"{did_you_mean(metric, names)}; there are: {', '.join(names)}"
            )

    def check_reported(self, metric: str) -> None:
        """Raises `UserError` when `test/METRIC` is not among what is measured at the end."""
        names = self._names(self.at_end)
        if f"test/{metric}" not in names:
            there = [name.removeprefix("test/") for name in names if name.startswith("test/")]
            raise UserError(
                f"metric = {metric!r} is not measured on 'test'{did_you_mean(metric, there)}; "
                + (f"there are: {', '.join(there)}" if there else "the data has no such split")
            )

    def _names(self, measured: Mapping[str, tuple[Evaluator, Columns]]) -> list[str]:
        return [
            f"{name}/{key}" for name, (evaluator, _) in measured.items() for key in evaluator.names
        ]
