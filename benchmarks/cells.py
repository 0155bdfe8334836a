"""Placements that a run can have on one machine, with virtual devices and local processes."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, eq=False)
class Cell:
    """One placement: a strategy, on `processes` processes with `devices` devices each."""

    name: str
    strategy: dict[str, Any]
    devices: int = 8
    processes: int = 1
    tensor: bool = False
    """Whether it splits layers, which not every model can."""

    def command(self, workdir: Path, flags: list[str]) -> list[str]:
        keys = [f"--config.strategy.{k}={v}" for k, v in self.strategy.items()]
        several = [f"--processes={self.processes}"] if self.processes > 1 else []
        return [
            *(sys.executable, "launch.py", "train", f"--workdir={workdir}", *several),
            *(*keys, *flags),
        ]

    def environment(self) -> dict[str, str]:
        flag = f"--xla_force_host_platform_device_count={self.devices}"
        return {**os.environ, "XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}

    def start(self, workdir: Path, flags: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(workdir, flags),
            cwd=ROOT,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, workdir: Path, flags: list[str]) -> str:
        """Runs it to its end; what it printed."""
        process = self.start(workdir, flags)
        out, _ = process.communicate(timeout=1800)
        if process.returncode:
            raise RuntimeError(f"{self.name}: exit code {process.returncode}\n{out}")
        return out


JIT = Cell("jit", {"name": "jit"}, devices=1)
CELLS = (
    Cell("pmap 2", {"name": "pmap"}, devices=2),
    Cell("pmap 8", {"name": "pmap"}),
    Cell("mesh data 2", {"name": "mesh"}, devices=2),
    Cell("mesh data 8", {"name": "mesh"}),
    Cell("mesh data 8, moments spread", {"name": "mesh", "spread_moments": True}),
    Cell("mesh fsdp 8", {"name": "mesh", "fsdp": 8}),
    Cell("mesh data 4 x tensor 2", {"name": "mesh", "tensor": 2}, tensor=True),
    Cell("pmap, 2 processes x 4", {"name": "pmap"}, devices=4, processes=2),
    Cell("mesh data, 2 processes x 4", {"name": "mesh"}, devices=4, processes=2),
)
"""In the order in which a run is moved through them."""


def rows(workdir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def difference(a: Path, b: Path, names: tuple[str, ...]) -> dict[str, float]:
    """The largest relative difference of two runs in each of the named metrics."""
    found = dict.fromkeys(names, 0.0)
    for x, y in zip(rows(a), rows(b), strict=True):
        if x["step"] != y["step"] or x.keys() != y.keys():
            raise ValueError(f"rows of {a} and {b} differ: {x} against {y}")
        for name in names:
            if name in x:
                scale = max(abs(x[name]), abs(y[name]), 1e-300)
                found[name] = max(found[name], abs(x[name] - y[name]) / scale)
    return found
