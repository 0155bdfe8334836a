"""`view`: an experiment's trials in TensorBoard (with its hparams tab) or MLflow.

Both are views of the records: shown again, they show what is new.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.analysis import outcomes
from lepton_jax.ablation.analysis.outcomes import Outcome, Results
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.tracking.mlflow_store import store_uri
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.writers.mlflow import MLflow
from lepton_jax.tracking.writers.tensorboard import TensorBoard

TOOLS = ("tensorboard", "mlflow")


@dataclass(frozen=True)
class Viewed:
    """What was shown, and how to look at it."""

    tool: str
    trials: int
    command: str

    def as_json(self) -> dict[str, Any]:
        return {"tool": self.tool, "trials": self.trials, "command": self.command}

    def __str__(self) -> str:
        return f"{self.trials} trials are in {self.tool}; look at them with: {self.command}"


def view(where: str, tool: str) -> Viewed:
    """Writes every trial that has a record into the tool.

    Raises:
      UserError: when `where` holds no experiment, or there is no such tool.
    """
    if tool not in TOOLS:
        near = did_you_mean(tool, TOOLS)
        raise UserError(f"view: no tool {tool!r}{near}; there are: {', '.join(TOOLS)}")
    results = outcomes.read_results(where)
    given, metric = given_of(results), results.metric
    shown = [o for o in results.outcomes if Record.exists(o.workdir)]
    for outcome in shown:
        record = Record.open(outcome.workdir, writes=False)
        values = {"variant": outcome.variant, "seed": outcome.seed, **given(outcome)}
        if tool == "tensorboard":
            writer: Any = TensorBoard(outcome.workdir, values)
            writer.hparams(values, [f"valid/{metric}", f"test/{metric}"])
        else:
            name = os.path.basename(os.path.abspath(where))
            writer = MLflow(outcome.workdir, values, experiment=name)
        rows = record.rows()
        for row in rows:
            writer(row["step"], {k: v for k, v in row.items() if k != "step"})
        if outcome.test is not None:
            writer(rows[-1]["step"], {f"test/{metric}": outcome.test})
        writer.close()
    command = f"tensorboard --logdir={where}/trials"
    if tool == "mlflow":
        command = f"mlflow ui --backend-store-uri={store_uri()}"
    return Viewed(tool, len(shown), command)


def given_of(results: Results) -> Callable[[Outcome], Mapping[str, Any]]:
    """What a trial was given of all the keys that vary in the experiment."""
    baseline: dict[str, Any] = {}
    for outcome in results.outcomes:
        baseline.update({key: before for key, (before, _) in outcome.changes.items()})

    def given(outcome: Outcome) -> Mapping[str, Any]:
        return baseline | {key: own for key, (_, own) in outcome.changes.items()}

    return given
