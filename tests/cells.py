"""Placements that a run can have on one machine, with virtual devices and local processes."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax import api
from lepton_jax.config.config_file import load_config

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
        """Runs it to its end; returns what it printed."""
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


def train_in(cell: Cell, recipe: Path, workdir: Path, **more: str) -> None:
    """Trains the tiny form of a recipe in float64 for 20 steps, in this process, placed as `cell`
    says: one example a device and microbatch, where there are eight. `more`: further keys.
    """
    (config, *_) = load_config(f"{recipe}:tiny")
    keys = {f"strategy.{name}": str(value) for name, value in cell.strategy.items()}
    if cell.strategy["name"] == "pmap":
        keys["strategy.devices_used"] = str(cell.devices)
    elif cell.devices == 2:
        keys["strategy.data"] = "2"
    overrides = {
        "precision": "float64",
        "train_for": "20 steps",
        "batch_size": str(8 * config.accumulate),
        "log_every": "1 steps",
        "evaluate_every": "10 steps",
        "checkpoint_every": "20 steps",
        **keys,
        **more,
    }
    api.train(f"{recipe}:tiny", str(workdir), overrides=overrides)
