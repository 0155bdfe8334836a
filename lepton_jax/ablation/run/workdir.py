"""What an experiment's workdir holds, written when it begins and read by all that look at it.

W/experiment.json   the experiment spelled out, and its trials
W/trials/NAME/      a record each
W/packs/ID/         while they run
W/report.html       and tables/
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.ablation.analysis.results import Outcome, Results
from lepton_jax.ablation.question.experiment import Experiment, Published
from lepton_jax.ablation.question.trials import Trial, compared
from lepton_jax.ablation.run.pack import state_of, status, trial_folder, unfinished
from lepton_jax.config.config import Best
from lepton_jax.errors import UserError
from lepton_jax.tracking import files
from lepton_jax.tracking.best import best_step
from lepton_jax.tracking.record import Record, Row


def write(
    workdir: str, experiment: Experiment, trials: Sequence[Trial], provenance: Mapping[str, Any]
) -> None:
    """Raises `UserError` when the workdir is that of another question."""
    path = files.join_path(workdir, "experiment.json")
    if files.exists(path):
        before = files.read_json(path)
        for key, now in (("question", experiment.question), ("metric", experiment.metric)):
            if before[key] != now:
                raise UserError(
                    f"{workdir} holds another experiment: its {key} is {before[key]!r}, not "
                    f"{now!r}; choose another --workdir"
                )
    named = [t for t in trials if t.variant == experiment.compared_with] or trials
    files.make_dir(workdir)
    files.write_json(
        path,
        {
            "question": experiment.question,
            "metric": experiment.metric,
            "mode": experiment.mode,
            "baseline": experiment.compared_with,
            "published": {
                k: [p.value, p.tolerance, p.source] for k, p in experiment.published.items()
            },
            "provenance": files.replace_non_finite(dict(provenance)),
            "trials": [
                {
                    "name": t.name,
                    "variant": t.variant,
                    "seed": t.seed,
                    "tuning": dict(t.tuning),
                    "changes": {k: list(v) for k, v in compared(t.config, named[0].config).items()},
                    "best": [t.config.best.metric, t.config.best.mode],
                }
                for t in trials
            ],
        },
    )


def read(workdir: str) -> Results:
    """The experiment as it stands. Raises `UserError` when the workdir holds none."""
    path = files.join_path(workdir, "experiment.json")
    if not files.exists(path):
        raise UserError(f"{workdir} holds no experiment (no experiment.json)")
    found = files.read_json(path)
    running = {n for p in unfinished(workdir) if p.runs for n in p.names}
    outcomes = [
        _outcome(workdir, trial, found["metric"], trial["name"] in running)
        for trial in found["trials"]
    ]
    return Results(
        question=found["question"],
        metric=found["metric"],
        mode=found["mode"],
        baseline=found["baseline"],
        variants=tuple(dict.fromkeys(o.variant for o in outcomes)),
        outcomes=tuple(outcomes),
        published={k: Published(*v) for k, v in found["published"].items()},
        provenance=found["provenance"],
    )


def _outcome(workdir: str, trial: Mapping[str, Any], metric: str, running: bool) -> Outcome:
    folder = trial_folder(workdir, trial["name"])
    state = state_of(folder, running)
    rows: list[Row] = []
    timings: list[Row] = []
    results: Mapping[str, Any] = {}
    if state != "waiting":
        record = Record.open(folder, writes=False)
        rows, timings, results = record.rows(), record.timings(), record.results()
    name = f"valid/{metric}"
    curve = tuple((row["step"], row[name]) for row in rows if name in row)
    metric_of_best, mode = trial["best"]
    best = best_step(Best(metric=metric_of_best, mode=mode), rows)
    test = results.get("test", {}).get(metric) if state == "finished" else None
    return Outcome(
        variant=trial["variant"],
        seed=trial["seed"],
        workdir=folder,
        state=state,
        reason=status(folder).get("reason", ""),
        tuning=trial["tuning"],
        changes={k: tuple(v) for k, v in trial["changes"].items()},
        valid=dict(curve).get(best) if best is not None else None,
        test=test,
        curve=curve,
        device_seconds=sum(t["seconds"] / t.get("lanes", 1) for t in timings if "seconds" in t),
        command=f"python launch.py train --config={folder}/config.json --workdir=runs/"
        + trial["name"],
    )
