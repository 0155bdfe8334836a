"""How much time packing saves: the same trials in packs, one after another, and as commands.

    python -m benchmarks.packing             # 25 minutes of a quiet machine
    python -m benchmarks.packing recipe      # one of them again

writes docs/results/packing.json, and docs/packing.md from it.

`ablate` runs 32 trials (8 learning rates, 4 seeds) with `--pack=auto` and with `--pack=serial` in
this process, which takes both turn about, each with its compilation, its records and evaluations.
Of the 32 `train` commands the first few are run, and their time is multiplied. The peer is Optuna
calling the very step that a trial takes alone, compiled once, without records.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.loop import bare
from benchmarks.pairs import Line
from lepton_jax import api
from lepton_jax.ablation import Experiment, Variant, grid
from lepton_jax.ablation.question.trials import Trial, expand_trials
from lepton_jax.ablation.run import executors, pack
from lepton_jax.ablation.run.feasibility import BuiltPrograms, build_trial
from lepton_jax.ablation.run.lanes import Lanes
from lepton_jax.ablation.run.run_pack import CompiledLanes
from lepton_jax.ablation.workdir import has_ended, trial_folder

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "docs/results/packing.json"
PAGE = ROOT / "docs/packing.md"

TRIALS = 32
RATES = [1e-3 * 1.5**i for i in range(8)]
COMMANDS = 3
"""`train` commands that are really run."""


class Case(NamedTuple):
    """A name, a recipe, what of it is changed, and how often faster packs are to be than (one after
    another, commands)."""

    name: str
    config: str
    changes: Mapping[str, Any]
    aims: tuple[float, float]
    rounds: int


CASES = {
    "mlp": Case(
        "MLP 64-64-10 on digits, batch 32",
        "configs/digits_cnn.py",
        {
            "model.name": "mlp", "model.features": (64,), "data.augment": "", "ema": 0.0,
            "train_for": "3_000 steps", "evaluate_every": "1_000 steps",
            "checkpoint_every": "3_000 steps", "log_every": "500 steps",
        },
        (5.0, 20.0), 3,
    ),
    "mnist1d_mlp": Case(
        "MLP on MNIST-1D, batch 100",
        "configs/mnist1d_mlp.py", {"train_for": "3_000 steps"}, (2.0, 10.0), 3,
    ),
    "mnist1d_cnn": Case(
        "CNN on MNIST-1D, batch 100",
        "configs/mnist1d_cnn.py", {"train_for": "3_000 steps"}, (1.5, 5.0), 1,
    ),
    "digits_cnn": Case(
        "CNN on digits, batch 32",
        "configs/digits_cnn.py", {"train_for": "2 epochs", "checkpoint_every": "2 epochs"},
        (1.0, 1.0), 3,
    ),
}  # fmt: skip


def compared(case: Case) -> list[Line]:
    name = case.name
    trials = expand_trials(experiment(case))
    took: dict[str, list[float]] = {"auto": [], "serial": []}
    for i in range(case.rounds):
        for at_once in ("auto", "serial") if i % 2 else ("serial", "auto"):
            took[at_once].append(ablated(experiment(case), at_once))
    packed, serial = (statistics.median(took[x]) for x in ("auto", "serial"))
    commands = TRIALS * trained(trials[:COMMANDS])
    optuna = driven_by_optuna(trials)
    return [
        Line(
            f"{TRIALS} trials in packs over one after another: {name}",
            f"{serial / packed:.2f}", f">= {case.aims[0]:g}", serial / packed >= case.aims[0],
            f"{packed:.1f} s against {serial:.1f} s, {case.rounds} pairs",
        ),
        Line(
            f"{TRIALS} trials in packs over {TRIALS} `train` commands: {name}",
            f"{commands / packed:.1f}", f">= {case.aims[1]:g}", commands / packed >= case.aims[1],
            f"{commands:.0f} s, from {COMMANDS} commands",
        ),
        Line(
            f"{TRIALS} trials in packs over Optuna calling the bare step: {name}",
            f"{optuna / packed:.2f}", "stated", True, f"{optuna:.1f} s",
        ),
    ]  # fmt: skip


def experiment(case: Case) -> Experiment:
    return Experiment(
        question="What does packing bring?",
        config=case.config,
        variants=grid({"optimizer.learning_rate": RATES}),
        seeds=range(TRIALS // len(RATES)),
        changes={**case.changes, "writers": {}},
    )


def ablated(experiment: Experiment, at_once: str) -> float:
    """Seconds from the command to its last record; the report is left out."""
    with tempfile.TemporaryDirectory() as folder:
        trials = expand_trials(experiment)
        began = time.perf_counter()
        BuiltPrograms(experiment.metric).check(trials)
        due = [pack.DueTrial(t) for t in trials]
        packs = pack.plan_packs(folder, due, at_once=at_once, workers=1)
        for each in packs:
            each.write()
        assert executors.run_here(packs, CompiledLanes())
        took = time.perf_counter() - began
        assert all(has_ended(trial_folder(folder, t.name)) for t in trials)
    return took


def trained(trials: list[Trial]) -> float:
    """Seconds of a `train` command, the mean over the trials."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        for trial in trials:
            config = os.path.join(folder, f"{trial.name}.json")
            with open(config, "w") as f:
                f.write(trial.config.to_json())
            workdir = f"--workdir={folder}/{trial.name}"
            subprocess.run(
                [sys.executable, "launch.py", "train", f"--config={config}", workdir],
                check=True, capture_output=True,
            )  # fmt: skip
        return (time.perf_counter() - began) / len(trials)


def driven_by_optuna(trials: list[Trial]) -> float:
    """Seconds of a study whose objective takes the steps of one trial after another."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with build_trial(trials[0], "accuracy") as prepared:
        train = prepared.data.splits["train"]
        began = time.perf_counter()
        one = Lanes(prepared.program, train, jax.local_devices()[:1], 1)

        def objective(trial: optuna.Trial) -> float:
            config = trials[trial.suggest_int("trial", 0, TRIALS - 1)].config
            feed, fresh = one.feed([config]), one.fresh([config])
            inputs = map(feed.inputs, range(prepared.program.durations.total_steps))
            _, sums = bare(feed, fresh["state"], fresh["sums"], inputs)
            totals, weights = np.asarray(jax.device_get(sums.values))[:2, 0]
            return float(totals / weights)

        space = {"trial": list(range(TRIALS))}
        study = optuna.create_study(sampler=optuna.samplers.GridSampler(space))
        study.optimize(objective, n_trials=TRIALS)
        return time.perf_counter() - began


def recipe() -> list[Line]:
    """64 trials of a whole small recipe, by the command that a user gives."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        api.ablate(
            f"{folder}/w", config="configs/digits_cnn.py", seeds=8,
            vary=["optimizer.learning_rate=" + ",".join(f"{r:.2e}" for r in RATES)],
            overrides={"train_for": "5 epochs", "checkpoint_every": "5 epochs"},
        )  # fmt: skip
        took = time.perf_counter() - began
    name = "64 trials of digits_cnn, 5 epochs each"
    return [Line(name, f"{took:.0f} s", "<= 120 s", took <= 120)]


def planned() -> list[Line]:
    """The engine's own cost before the first trial."""
    many = Experiment(
        question="?",
        config="configs/digits_cnn.py",
        variants=[
            Variant("baseline"),
            *grid({"optimizer.learning_rate": np.geomspace(1e-4, 1e-1, 199)}),
        ],
        seeds=range(5),
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        trials = expand_trials(many)
        for each in pack.plan_packs(
            folder, [pack.DueTrial(t) for t in trials], at_once="auto", workers=1
        ):
            each.write()
        took = time.perf_counter() - began
    assert len(trials) == 1000
    return [Line("1,000 trials validated and planned", f"{took:.1f} s", "<= 3 s", took <= 3)]


PARTS: dict[str, Callable[[], list[Line]]] = {
    **{name: partial(compared, case) for name, case in CASES.items()},
    "recipe": recipe,
    "planned": planned,
}

HEAD = """# How much time packing saves

Made by `python -m benchmarks.packing`: medians over whole experiments, with compilation,
records and evaluations. The same trials run in four ways: in packs (`--pack=auto`), one after
another in one process (`--pack=serial`), as separate `train` commands, and as an Optuna study
that calls only the compiled step and writes no records.

| what | measured | aim | met | | on |
|---|---|---|---|---|---|"""


def main(names: list[str]) -> None:
    device = jax.devices()[0]
    on = device.device_kind if device.platform != "cpu" else f"{os.cpu_count()} CPU cores"
    for name in names or PARTS:
        rows = [{**asdict(line), "on": on} for line in PARTS[name]()]
        kept = json.loads(ROWS.read_text()) if ROWS.exists() else {}
        kept[name] = rows
        ROWS.write_text(json.dumps({n: kept[n] for n in PARTS if n in kept}, indent=1) + "\n")
        print(*map(_row, rows), sep="\n", flush=True)
    page = [HEAD, *(_row(row) for rows in json.loads(ROWS.read_text()).values() for row in rows)]
    PAGE.write_text("\n".join([*page, ""]))


def _row(row: dict[str, Any]) -> str:
    line = dict(row)
    on = line.pop("on")
    return f"| {' | '.join((*Line(**line).cells, on))} |"


if __name__ == "__main__":
    main(sys.argv[1:])
