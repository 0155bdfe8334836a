"""One run under every placement: how far its numbers are from those of one device.

    python -m benchmarks.placement

Each row of docs/results/placement.json is one run of 50 steps and is not made again;
docs/placement.md is the table. Several processes are local ones, devices are virtual.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.cells import CELLS, JIT, ROOT, Cell
from tests.laws import difference

ROWS = ROOT / "docs/results/placement.json"
PAGE = ROOT / "docs/placement.md"
STEPS = 50
NUMBERS = ("train/loss", "train/grad_norm")
COMMON = [
    f"--config.train_for={STEPS} steps",
    "--config.log_every=1 steps",
    f"--config.evaluate_every={STEPS} steps",
    f"--config.checkpoint_every={STEPS} steps",
    "--config.data.source.examples=512",
    "--config.writers={}",
]


class Subject(NamedTuple):
    """What is trained, and whether its layers can be split over the tensor axis."""

    flags: list[str]
    tensor: bool


SUBJECTS = {
    # The recipe's rate, scaled from a batch of 128 to 16: too large a rate parts any two runs.
    "ResNet-20 with BatchNorm": Subject(
        [
            "--config=configs/cifar10_resnet20.py:synthetic",
            "--config.schedule.name=constant",
            "--config.optimizer.learning_rate=0.0125",
        ],
        False,
    ),
    "4-layer decoder, dropout 0.1, unequal lengths": Subject(
        ["--config=configs/markov_decoder.py"], True
    ),
}
VARIANTS = {
    "float64": ["--config.precision=float64", "--config.batch_size=16"],
    "float32": ["--config.precision=float32", "--config.batch_size=16"],
    "float64, 4 accumulated": [
        "--config.precision=float64",
        "--config.batch_size=32",
        "--config.accumulate=4",
    ],
}
ACCUMULATED = ("pmap 8", "mesh data 8", "mesh fsdp 8", "pmap, 2 processes x 4")

HEAD = f"""# The same run in every placement

Made by `python -m benchmarks.placement`: each run is compared with the same run on one
device. The table shows the largest relative difference over {STEPS} steps, of the loss and of the
gradient's norm. The norm is compared too, because with Adam the loss does not show a wrong
scale of the gradient. The placements compute the same function and differ only in the order
of sums: in float64 the difference is tiny, in float32 it is visible. With accumulation,
BatchNorm uses the statistics of a microbatch, and the run on one device accumulates as well.
"""


def main() -> None:
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
    for name, subject in SUBJECTS.items():
        for variant, flags in VARIANTS.items():
            cells = [c for c in CELLS if subject.tensor or not c.tensor]
            if "accumulated" in variant:
                cells = [c for c in cells if c.name in ACCUMULATED]
            wanted = [c for c in cells if not _row(rows, name, variant, c)]
            if wanted:
                _measure(rows, name, variant, [*subject.flags, *flags, *COMMON], wanted)
    _write_page(rows)


def _row(rows: list[dict[str, Any]], model: str, variant: str, cell: Cell) -> dict[str, Any] | None:
    key = {"model": model, "variant": variant, "placement": cell.name}
    return next((r for r in rows if key.items() <= r.items()), None)


def _measure(
    rows: list[dict[str, Any]], model: str, variant: str, flags: list[str], cells: list[Cell]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        JIT.finish(alone, flags)
        for cell in cells:
            began = time.time()
            workdir = Path(folder) / "placed"
            cell.finish(workdir, flags)
            rows.append(
                {
                    "model": model,
                    "variant": variant,
                    "placement": cell.name,
                    "value": difference(alone, workdir, NUMBERS),
                    "seed": 0,
                    "commit": _commit(),
                    "fingerprint": _fingerprint(workdir),
                    "minutes": round((time.time() - began) / 60, 2),
                }
            )
            subprocess.run(["rm", "-r", str(workdir)], check=True)
            ROWS.parent.mkdir(parents=True, exist_ok=True)
            ROWS.write_text(json.dumps(rows, indent=2) + "\n")
            print(rows[-1], flush=True)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip()


def _fingerprint(workdir: Path) -> str:
    return json.loads((workdir / "provenance.json").read_text())["fingerprint"]


def _write_page(rows: list[dict[str, Any]]) -> None:
    lines = [HEAD]
    for model in SUBJECTS:
        variants = [v for v in VARIANTS if any(_row(rows, model, v, c) for c in CELLS)]
        if not variants:
            continue
        lines += [f"## {model}", "", "| placement | " + " | ".join(variants) + " |"]
        lines += ["|---" * (len(variants) + 1) + "|"]
        for cell in CELLS:
            found = [_row(rows, model, v, cell) for v in variants]
            if any(found):
                lines.append(f"| {cell.name} | " + " | ".join(map(_cell, found)) + " |")
        lines.append("")
    PAGE.write_text("\n".join(lines))


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    loss, norm = (row["value"][n] for n in NUMBERS)
    return f"loss {loss:.1e}, norm {norm:.1e}"


if __name__ == "__main__":
    main()
