"""Weak scaling, estimated: one recipe compiled for 4 to 256 chips, with a constant batch a chip.

    python -m benchmarks.scaling --config=configs/imagenet_resnet50.py:synthetic --chip=v5e \\
        --batch=128 --strategy=mesh

Each row of docs/results/scaling.json is one compilation, and is not made again; docs/scaling.md is
the table. Needs libtpu (`pip install '.[plan-tpu]'`) and no TPU.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "docs/results/scaling.json"
PAGE = ROOT / "docs/scaling.md"
SHAPES = {
    "v5e": {4: "2x2", 16: "4x4", 64: "8x8", 256: "16x16"},
    "v6e": {4: "2x2", 16: "4x4", 64: "8x8", 256: "16x16"},
    "v4": {4: "2x2x1", 16: "2x2x4", 64: "4x4x4", 256: "4x8x8"},
    "v5p": {4: "2x2x1", 16: "2x2x4", 64: "4x4x4", 256: "4x8x8"},
}

HEAD = """# Weak scaling, estimated

Made by `python -m benchmarks.scaling`: these are estimates, nothing ran on these chips. Each
row is the real training step, compiled by the real TPU compiler for this number of chips,
with the same number of examples on each chip. The compiled program gives the bytes that a
chip sends; published numbers (`lepton_jax/perf/chips.py`) give the speeds.

    compute    = max(FLOPs of a chip / peak FLOP/s, bytes in HBM / HBM bandwidth)
    links      = sum over collectives of bytes sent / bandwidth of the links its group has
    efficiency = compute / (compute + exposed links)

Before a run it is not known how much communication overlaps with computation. So there are
two efficiencies: in `worst` all of `links` is exposed, in `best` only the part that exceeds
`compute`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--chip", choices=SHAPES, default="v5e")
    parser.add_argument("--batch", type=int, required=True, help="examples a chip")
    parser.add_argument("--strategy", choices=("pmap", "data", "fsdp"), default="data")
    parser.add_argument("--chips", type=int, nargs="+", default=[4, 16, 64, 256])
    given = parser.parse_args()
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
    for chips in given.chips:
        topology = f"{given.chip}:{SHAPES[given.chip][chips]}"
        key = {
            "config": given.config,
            "topology": topology,
            "strategy": given.strategy,
            "batch": given.batch,
        }
        if not any(key.items() <= row.items() for row in rows):
            rows.append(key | row_of(given, chips, topology))
            ROWS.parent.mkdir(parents=True, exist_ok=True)
            ROWS.write_text(json.dumps(rows, indent=2) + "\n")
        write(rows)


def row_of(given: Any, chips: int, topology: str) -> dict[str, Any]:
    """One compilation, in a process of its own."""
    strategy = {
        "pmap": ["--config.strategy.name=pmap"],
        "data": ["--config.strategy.name=mesh"],
        "fsdp": ["--config.strategy.name=mesh", f"--config.strategy.fsdp={chips}"],
    }[given.strategy]
    command = [
        *(sys.executable, "launch.py", "plan", "--json", f"--topology={topology}"),
        *(f"--config={given.config}", f"--config.batch_size={chips * given.batch}", *strategy),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr or done.stdout}")
    facts = json.loads(done.stdout)
    step = facts["step"]
    compute, links = max(step["compute"], step["memory"]), step["links"]
    return {
        "chips": chips,
        "compute": compute,
        "links": links,
        "sent_bytes": sum(row["sent_bytes"] for row in facts["collectives"]),
        "best": compute / (compute + max(0.0, links - compute)),
        "worst": compute / (compute + links),
        "examples_per_second": facts["batch_size"] / step["longest"],
        "memory": facts["memory"]["total"],
        "compile_seconds": facts["compile_seconds"],
    }


def write(rows: list[dict[str, Any]]) -> None:
    head = "config strategy topology chips examples/chip compute links sent best worst examples/s"
    table = [f"| {' | '.join(head.split())} |", "|" + "---|" * len(head.split())]
    for row in sorted(rows, key=lambda r: (r["config"], r["strategy"], r["chips"])):
        cells = [
            *(row["config"], row["strategy"], row["topology"], row["chips"], row["batch"]),
            f"{1e3 * row['compute']:.2f} ms",
            f"{1e3 * row['links']:.2f} ms",
            f"{row['sent_bytes'] / 1e6:,.1f} MB",
            *(f"{row['best']:.1%}", f"{row['worst']:.1%}"),
            f"{row['examples_per_second']:,.0f}",
        ]
        table.append(f"| {' | '.join(map(str, cells))} |")
    PAGE.write_text("\n".join([HEAD, *table, ""]))


if __name__ == "__main__":
    main()
