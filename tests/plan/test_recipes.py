"""Every recipe that names its topology in its docstring is compiled for it.

    Topology: v5e:4x4 --config.strategy.name=mesh

The flags that follow are those it is meant to run with there; the data is its `:synthetic`.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax.plan.topology import parse_topology

ROOT = Path(__file__).parent.parent.parent


def topologies():
    for path in sorted((ROOT / "configs").glob("*.py")):
        docstring = re.match(r'"""(.*?)"""', path.read_text(), re.S)
        for name, flags in re.findall(
            r"^Topology: (\S+:\S+)(.*)$", docstring[1] if docstring else "", re.M
        ):
            yield pytest.param(path, name, flags.split(), id=f"{path.stem}-{name}")


@pytest.mark.parametrize(("path", "name", "flags"), tuple(topologies()))
def test_the_topology_of_a_recipe_has_a_known_name(path, name, flags):
    assert parse_topology(name).count > 1
    assert all(flag.startswith("--config.") for flag in flags)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "name", "flags"), tuple(topologies()))
def test_a_recipe_fits_its_topology(path, name, flags):
    compiler, extra = (
        ("jax_plugins", "plan-gpu") if parse_topology(name).chip.node else ("libtpu", "plan-tpu")
    )
    if importlib.util.find_spec(compiler) is None:
        pytest.skip(f"{compiler} is not installed: pip install '.[{extra}]'")
    command = [
        *(sys.executable, "launch.py", "plan", f"--config={path}:synthetic"),
        *(f"--topology={name}", *flags),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
