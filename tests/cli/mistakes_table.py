"""Makes each mistake of the tests in a process of its own, and keeps how it is answered:

python -m tests.cli.mistakes_table

It prints the answer to each, and writes the shares to docs/results/mistakes.json. A mistake is told
if the exit code is 2, one line names the cause, and there is no traceback. What counts as its cure
is in `mistakes.py`.
"""

import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lepton_jax.io import files
from tests.cli.home import ROOT, make_home
from tests.cli.mistakes import NEW, OLD, SLOW, Mistake, is_cured, said_lines

EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
"""As the tests have them: what a mesh is answered by depends on how many there are."""

RESULTS = ROOT / "docs/results/mistakes.json"


class Answer(NamedTuple):
    """What one mistake was answered by."""

    mistake: Mistake
    error: str
    told: bool
    cured: bool
    in_words: bool
    """Whether the cure is words of the error, and no command."""
    seconds: float
    """Of the processor, with the start of Python."""


def answer(mistake: Mistake, home: Path) -> Answer:
    """Makes a mistake, in the checkout or in the folder `home`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *shlex.split(mistake.line)],
        capture_output=True,
        text=True,
        cwd=home if mistake.at_home else ROOT,
        env={
            **os.environ,
            "LEPTON_JAX_REGISTRY": str(home),
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": EIGHT_DEVICES,
        },
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    error, proposed = said_lines(done.stderr.splitlines())
    told = done.returncode == 2 and mistake.cause in error and "Traceback" not in done.stderr
    return Answer(
        mistake,
        error,
        bool(error) and told,
        is_cured(mistake, error, proposed),
        mistake.cure.startswith(";") or mistake.cure.startswith("("),
        after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
    )


def summarize(answers: Sequence[Answer]) -> dict[str, float]:
    """Counts what the answers to a list of mistakes hold, with their median seconds."""
    cured = [a for a in answers if a.told and a.cured]
    seconds = [a.seconds for a in answers]
    return {
        "mistakes": len(answers),
        "told": sum(a.told for a in answers),
        "cured": len(cured),
        "cured_by_a_command": sum(not a.in_words for a in cured),
        "share_cured": round(len(cured) / len(answers), 4),
        "median_seconds": round(statistics.median(seconds), 2),
        "largest_seconds": round(max(seconds), 2),
        "above_one_second": sum(s > 1 for s in seconds),
    }


def main() -> None:
    """Prints the rows of each list and its summary, and writes the summaries."""
    summaries = {}
    with tempfile.TemporaryDirectory() as folder:
        make_home(Path(folder))
        for name, mistakes in {"old": OLD, "new": [*NEW, *SLOW]}.items():
            answers = [answer(mistake, Path(folder)) for mistake in mistakes]
            for a in answers:
                mark = "" if a.told and a.cured else "NOT CURED: " if a.told else "NOT TOLD: "
                print(f"{a.seconds:5.2f} {mark}{a.mistake.line}")
                print(f"      {a.error}\n      cure: {a.mistake.cure}")
            summaries[name] = summarize(answers)
            print(f"{name}: {summaries[name]}\n", flush=True)
    files.write_json(str(RESULTS), summaries)


if __name__ == "__main__":
    main()
