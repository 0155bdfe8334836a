"""Prints what each mistake of the tests is answered by, each in a process of its own:

python -m tests.cli.mistakes_table

A row is the processor seconds of the whole command, whether a command to try is proposed, the
mistake and the answer. A mistake is told if the exit code is 2 and one line names the cause.
"""

import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.cli import new_mistakes, test_looks, test_mistakes
from tests.cli.home import ROOT, make_home

Row = tuple[str, str, str]


class Answer(NamedTuple):
    """What one mistake was answered by."""

    line: str
    error: str
    told: bool
    tries: bool
    seconds: float
    """Of the processor, with the start of Python."""


def answer(row: Row, folder: Path) -> Answer:
    """Gives a mistaken command line in `folder`."""
    line, cause, _ = row
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *shlex.split(line)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LEPTON_JAX_REGISTRY": str(folder)},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = done.stderr.splitlines()
    errors = [line for line in said if line.startswith("error: ")]
    error = errors[0] if errors else ""
    told = done.returncode == 2 and len(errors) == 1 and cause in error
    tries = any(line.startswith("Try: ") for line in said)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Answer(line, error, told and "Traceback" not in done.stderr, tries, seconds)


def override_rows(start: str, rows: list[Row]) -> list[Row]:
    """Returns rows of overrides as rows of command lines that begin with `start`."""
    return [(f"{start} --config.{key}", cause, cure) for key, cause, cure in rows]


def main() -> None:
    """Prints the rows of each list, and below them how many are told, proposed, and how fast."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_home(home)
        tiny = f"train {test_mistakes.C}:tiny --workdir=w"
        mine, slow = new_mistakes.MINE, new_mistakes.SLOW_CONFIG_LINES
        lists = {
            "old": [
                *((row, ROOT) for row in test_mistakes.LINES),
                *((row, ROOT) for row in override_rows(tiny, test_mistakes.CONFIG_LINES)),
                *((row, home) for row in test_looks.LINES),
            ],
            "new": [
                *((row, home) for row in override_rows(mine, new_mistakes.CONFIG_LINES)),
                *((row, home) for row in new_mistakes.LINES),
                *((row, home) for row in override_rows(mine, slow)),
            ],
        }
        for name, rows in lists.items():
            answers = [answer(row, where) for row, where in rows]
            for a in answers:
                mark = "Try" if a.tries else "   "
                told = "" if a.told else "NOT TOLD: "
                print(f"{a.seconds:5.2f} {mark} {told}{a.line}\n          {a.error}")
            seconds = [a.seconds for a in answers]
            print(
                f"{name}: {len(answers)} mistakes, {sum(a.told for a in answers)} told, "
                f"{sum(a.tries for a in answers)} with a command to try; processor seconds: median "
                f"{statistics.median(seconds):.2f}, largest {max(seconds):.2f}, "
                f"{sum(s > 1 for s in seconds)} above 1\n",
                flush=True,
            )


if __name__ == "__main__":
    main()
