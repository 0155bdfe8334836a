"""The evaluation of one batch: what the task's loss and each metric add up."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.answers.kind import KeepsWorst, Kind
from lepton_jax.config.components import Component
from lepton_jax.config.user_code import users_line
from lepton_jax.errors import UserError, describe_value, did_you_mean
from lepton_jax.metrics.metric import GatheredMetric, Metric, SummedMetric
from lepton_jax.nn.batch import Batch
from lepton_jax.tasks.logits import check_losses
from lepton_jax.tasks.task import RanksExamples
from lepton_jax.training.borders import Bordered
from lepton_jax.training.parts import Parts
from lepton_jax.training.returned import check_outputs, checked_sums
from lepton_jax.training.state import State
from lepton_jax.training.step import TrainingStep


class Scoring:
    """Measures the model of a state on a batch. `answer`: of what kind the task's answers are."""

    def __init__(self, parts: Parts, training: TrainingStep, answer: Kind):
        self._parts, self._training, self._answer = parts, training, answer

    def evaluate(self, metrics: Mapping[str, Metric], state: State, batch: Batch) -> Any:
        """Evaluates a raw batch: fields `[B, ...]`, `mask` float32 [B] and `seed` uint32 [B].

        Returns a dict of three:
          `sums`: `means`, the task's sums, and `metrics`, of each metric by name what it adds up;
          `examples`: of each example [B] its `loss`, -inf for padding, if the task ranks examples
            (`tasks.task.RanksExamples`), and what its kind of answer keeps of the worst ones;
          `gathered`: of each metric by name the rows [B, ...] that it wants of every example, and
            their `mask`.
        """
        tapped = [Bordered(f"metric {name}", metric) for name, metric in metrics.items()]
        return self._parts.explained(lambda: self._evaluate(metrics, state, batch), tapped)

    def _evaluate(self, metrics: Mapping[str, Metric], state: State, batch: Batch) -> Any:
        model = self._parts.module(*self._training.variables(state))
        batch = self._parts.prepare(batch)
        task = self._parts.task(state.hyper)
        ranks = task if isinstance(task, RanksExamples) else None
        outputs = task.predict(model, batch) if metrics or ranks else {}
        rows = batch["mask"].shape[0]
        check_outputs(outputs, rows, task.predict)
        outputs, of_task = _NamedOutputs(outputs), f"task {self._parts.config.task.name}"
        added, gathered = {}, {}
        for name, metric in metrics.items():
            with _naming_output(f"metrics.{name}, {type(metric).__name__}", of_task):
                if isinstance(metric, GatheredMetric):
                    wanted = metric.gathered(outputs, batch)
                    check_outputs(wanted, rows, metric.gathered)
                    gathered[name] = {**wanted, "mask": batch["mask"]}
                else:
                    added[name] = metric.sums(outputs, batch)
        sums = {"means": checked_sums(task, model, batch, None), "metrics": added}
        examples: dict[str, jax.Array] = {}
        if ranks:
            with _naming_output(f"{of_task}.surprise", of_task):
                surprise_B = ranks.surprise(outputs, batch)
            loss_B = check_losses(surprise_B, (rows,), ranks.surprise)
            examples["loss"] = jnp.where(batch["mask"] > 0, loss_B, -jnp.inf)
            if isinstance(self._answer, KeepsWorst):
                examples |= self._answer.worst(outputs)
        return {"sums": sums, "examples": examples, "gathered": gathered}

    def metrics(self, extra: Mapping[str, Component]) -> dict[str, Metric]:
        """Builds the task's own metrics and those that the config names in `extra`.

        Raises:
          UserError: when one of them lacks a member of its contract.
        """
        own = self._parts.task().metrics()
        if not isinstance(own, Mapping):
            raise UserError(
                f"task {self._parts.config.task.name}.metrics returned {describe_value(own)}; "
                "expected metrics by name, {'accuracy': Accuracy(...)}"
            )
        metrics = dict(own)
        metrics |= {name: m.build(self._parts.spec.classes) for name, m in extra.items()}
        for name, metric in metrics.items():
            if not isinstance(metric, SummedMetric | GatheredMetric):
                raise UserError(
                    f"metric {name} is of the type {type(metric).__name__}; expected `results`, "
                    "and `sums` or `gathered`, as lepton_jax.metrics.metric says"
                )
        return metrics


class _NoOutput(KeyError):
    """What a metric asks for is not there."""

    def __init__(self, name: str, there: Iterable[str]):
        super().__init__(name)
        self.name, self.there = name, [*there]


class _NamedOutputs(dict[str, jax.Array]):
    """What a task's `predict` gives, for metrics and `surprise`, which may ask for more."""

    def __missing__(self, name: str) -> jax.Array:
        raise _NoOutput(name, self)


@contextmanager
def _naming_output(who: str, of_task: str) -> Iterator[None]:
    """Raises a `UserError` where `who` asks for an output that is not there: its line, and what is.

    It is no `KeyError` of the user's own code, whose line `borders.explained` names.
    """
    try:
        yield
    except _NoOutput as e:
        line = users_line(e)
        raise UserError(
            f"{who}{f', at {line}' if line else ''}: outputs has no {e.name!r}"
            f"{did_you_mean(e.name, e.there)}; predict of {of_task} gives "
            f"{', '.join(map(repr, e.there)) or 'nothing'}"
        ) from e
