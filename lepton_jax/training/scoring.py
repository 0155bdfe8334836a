"""The evaluation of one batch: what the task's loss and each metric add up."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.answers.kind import KeepsWorst, Kind
from lepton_jax.config.components import Component
from lepton_jax.errors import UserError, describe_value
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
        outputs = _NamedOutputs(self._parts.config.task.name, outputs)
        added = {
            name: metric.sums(outputs, batch)
            for name, metric in metrics.items()
            if isinstance(metric, SummedMetric) and not isinstance(metric, GatheredMetric)
        }
        gathered = {}
        for name, metric in metrics.items():
            if isinstance(metric, GatheredMetric):
                wanted = metric.gathered(outputs, batch)
                check_outputs(wanted, rows, metric.gathered)
                gathered[name] = {**wanted, "mask": batch["mask"]}
        sums = {"means": checked_sums(task, model, batch, None), "metrics": added}
        examples: dict[str, jax.Array] = {}
        if ranks:
            loss_B = check_losses(ranks.surprise(outputs, batch), (rows,), ranks.surprise)
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


class _NamedOutputs(dict[str, jax.Array]):
    """What a task's `predict` gives, for metrics and `surprise`, which may ask for more.

    Raises:
      UserError: on a key that is not there, naming the task and what it gives.
    """

    def __init__(self, task: str, outputs: Mapping[str, jax.Array]):
        super().__init__(outputs)
        self._task = task

    def __missing__(self, name: str) -> jax.Array:
        raise UserError(
            f"task {self._task}: a metric or `surprise` needs {name!r}, but `predict` "
            f"returns {', '.join(map(repr, self)) or 'nothing'}"
        )
