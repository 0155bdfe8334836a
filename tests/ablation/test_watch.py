"""What `watch` shows of an experiment."""

import io

import pytest
from rich.console import Console

from lepton_jax.ablation.report.watch import ExperimentStatus
from tests.ablation.outcomes import outcome, results

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
