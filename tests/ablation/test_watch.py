"""What `watch` shows of an experiment."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from lepton_jax.ablation import Experiment, Variant
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.ablation.report import watch
from lepton_jax.ablation.report.watch import ExperimentStatus
from lepton_jax.ablation.workdir import trial_folder, write_experiment
from lepton_jax.config.config_file import resolve_config
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.tracking.claim import claim, read_owner
from lepton_jax.tracking.record import Record
from tests.ablation.outcomes import outcome, results

ROOT = Path(__file__).parent.parent.parent

LONG = "optimizer.learning_rate=0.003, model.dropout=0.5"
STATUS = ExperimentStatus(
    results(
        [
            outcome("baseline", 0, 0.9),
            outcome("baseline", 1, None, state="running", valid=0.8),
            outcome(LONG, 0, None, state="failed"),
            outcome(LONG, 1, None, state="waiting"),
        ]
    ),
    left=754.0,
)


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_it_fits_the_terminal_with_every_word_of_a_variant(columns: int):
    console = Console(width=columns, file=io.StringIO())
    console.print(STATUS.show(console))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= columns
    assert lines[1] == "━" * (min(columns, 60) // 2) + "─" * (min(columns, 60) // 2)
    table = lines[next(i for i, line in enumerate(lines) if line.startswith("variant")) :]
    assert table[0].split() == ["variant", "done", "run", "fail", "wait", "best"]
    assert table[1].split() == ["baseline", "1", "1", "0", "0", "0.9000"]
    name = "".join(line[: table[0].index("done") - 1] for line in table[2:])
    assert name.replace(" ", "") == LONG.replace(" ", "")


def test_piped_it_is_sentences():
    lines = str(STATUS).splitlines()
    counts = "2 of 4 trials have ended: 1 finished, 1 running, 1 failed, 1 waiting"
    assert lines[:2] == ["Does it help?", counts]
    assert lines[2] == "Best so far, valid/accuracy 0.9000: baseline, seed 0 (runs/baseline-0)"
    assert lines[3].startswith("About 12:34 left: all done ")


def test_the_time_left_is_by_the_trials_that_ended_since_the_command_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config, _ = resolve_config(str(ROOT / "configs/digits_cnn.py:tiny"), {})
    experiment = Experiment(
        question="?", config=str(ROOT / "configs/digits_cnn.py:tiny"), variants=[Variant("a")],
        seeds=range(5),
    )  # fmt: skip
    trials = expand_trials(experiment)
    write_experiment(str(tmp_path), experiment, trials, {})
    ends = [-500.0, 40.0, 60.0]  # seconds after the command began; the first one by an earlier
    with claim(tmp_path):
        owner = read_owner(tmp_path)
        assert owner is not None
        for trial, end in zip(trials, ends, strict=False):
            record = Record.create(trial_folder(str(tmp_path), trial.name), config.to_json(), {})
            record.end("failed", 1)
            status = json.loads(Path(record.path("status.json")).read_text())
            status["time"] = utc_timestamp(owner.since + end, zone="Z")
            Path(record.path("status.json")).write_text(json.dumps(status))
        monkeypatch.setattr(watch.time, "time", lambda: owner.since + 65)
        assert watch.read_status(str(tmp_path)).left == pytest.approx(2 * 30 - 5, abs=2)
    assert watch.read_status(str(tmp_path)).left is None  # nobody runs it
