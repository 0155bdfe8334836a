"""Runs every benchmark, prints the table and writes it to docs/benchmarks.md.

python -m benchmarks                     # all of them
python -m benchmarks programs bundles    # only these; other lines of the page stay as they are
"""

import argparse
import datetime
import os
import platform
from collections.abc import Callable
from pathlib import Path

import jax

from benchmarks import (
    batching,
    bundles,
    checkpoint,
    cnns,
    images,
    loop,
    programs,
    rnn,
    startup,
    streaming,
    text,
)
from benchmarks.pairs import Line
from lepton_jax.tracking.provenance import describe_processor

PAGE = Path(__file__).parent.parent / "docs/benchmarks.md"

BENCHMARKS: dict[str, Callable[[int], list[Line]]] = {
    "startup": lambda pairs: startup.lines(),
    "loop": loop.lines,
    "checkpoint": checkpoint.lines,
    "cnns": cnns.lines,
    "images": images.lines,
    "rnn": rnn.lines,
    "text": text.lines,
    "programs": programs.lines,
    "bundles": bundles.lines,
    "batching": batching.lines,
    "streaming": streaming.lines,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--pairs", type=int, default=20, help="interleaved pairs a comparison")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    found = [x for name in asked.names or BENCHMARKS for x in BENCHMARKS[name](asked.pairs)]
    rows = [f"| {' | '.join(x.cells)} |" for x in found]
    head = f"{datetime.date.today()}, {_describe_machine()}"
    if asked.names:  # the other lines are of an earlier day, which the page says
        head, kept = _read_page()
        day = f", {datetime.date.today()} |"
        new = {_name(row): row.removesuffix(" |") + day for row in rows}
        rows = [*({_name(row): row for row in kept} | new).values()]
    table = "\n".join(["| what | measured | aim | met | |", "|---|---|---|---|---|", *rows])
    print(table)
    page = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Ratios are medians of interleaved pairs, with the 10th and 90th",
        "percentiles. A single timing on a shared machine is not reliable.",
        "",
        head,
        "",
        table,
        "",
    ]
    PAGE.write_text("\n".join(page))


def _describe_machine() -> str:
    processors = f"{os.cpu_count()} x {describe_processor()}"
    devices = f"{len(jax.devices())} {jax.devices()[0].device_kind}"
    return f"{processors}, {platform.python_version()}, jax {jax.__version__}, {devices}"


def _read_page() -> tuple[str, list[str]]:
    """Returns the page's line of the day and the machine, and the rows of its table."""
    text = PAGE.read_text().splitlines()
    rows = [line for line in text if line.startswith("| ")][1:]
    return next(line for line in text if line[:2] == "20"), rows


def _name(row: str) -> str:
    """Returns what a row of the table measures."""
    return row.removeprefix("| ").partition(" | ")[0]


if __name__ == "__main__":
    main()
