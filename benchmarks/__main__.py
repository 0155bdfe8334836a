"""Runs every benchmark, prints the table and writes it to docs/benchmarks.md."""

import argparse
import datetime
import os
import platform
from pathlib import Path

import jax

from benchmarks import checkpoint, cnns, images, loop, rnn, startup, text
from lepton_jax.tracking.provenance import describe_processor


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="interleaved pairs a comparison")
    pairs = parser.parse_args().pairs
    found = [*startup.lines(), *loop.lines(pairs), *checkpoint.lines(pairs), *cnns.lines(pairs)]
    found += [*images.lines(pairs), *rnn.lines(pairs), *text.lines(pairs)]
    rows = ["| what | measured | aim | met | |", "|---|---|---|---|---|"]
    rows += [f"| {' | '.join(x.cells)} |" for x in found]
    table = "\n".join(rows)
    print(table)
    processors = f"{os.cpu_count()} x {describe_processor()}"
    where = f"{processors}, {platform.python_version()}, jax {jax.__version__}"
    page = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Ratios are medians of interleaved pairs, with the 10th and 90th",
        "percentiles. A single timing on a shared machine is not reliable.",
        "",
        f"{datetime.date.today()}, {where}, {len(jax.devices())} {jax.devices()[0].device_kind}",
        "",
        table,
        "",
    ]
    Path(__file__).parent.parent.joinpath("docs/benchmarks.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
