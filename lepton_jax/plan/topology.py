"""Parses topologies, `v5e:4x4`, `2xv6e:4x4` (two slices), `h100:8`, and describes their devices.

The devices need not exist.

Imports jax only where devices are made, so that names can be checked at once.
"""

import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.installation import format_install
from lepton_jax.nearest import find_nearest
from lepton_jax.perf.chips import CHIPS, Chip

KNOWN = "v4:4x4x4, v5e:2x2, v5e:16x16, v5p:2x2x1, v6e:4x4, 2xv6e:4x4 (two slices), a100:8, h100:8"


@dataclass(frozen=True)
class Topology:
    """`slices` equal slices of `shape` chips each."""

    name: str
    chip: Chip
    shape: tuple[int, ...]
    slices: int

    @property
    def count(self) -> int:
        """The number of devices in all."""
        return self.slices * math.prod(self.shape)


def parse_topology(name: str) -> Topology:
    """Parses a name. Raises `UserError` for what is no topology, naming some that are."""
    match = re.fullmatch(r"(?:(\d+)x)?([a-zA-Z]\w*):(\d+(?:x\d+)*)", name)
    if not match:
        known = next((k for k in KNOWN.split(", ") if k.startswith(f"{name}:")), None)
        raise UserError(
            f"--topology={name}: expected CHIP:SHAPE, for instance {KNOWN}",
            instead=(name, known) if known else None,
        )
    slices, kind, shape = int(match[1] or 1), match[2], tuple(map(int, match[3].split("x")))
    if kind not in CHIPS:
        near = find_nearest(kind, CHIPS)
        raise UserError(
            f"--topology={name}: no chip is called {kind!r}{did_you_mean(kind, CHIPS)}; "
            f"there are: {', '.join(CHIPS)}. For instance {KNOWN}",
            instead=(name, name.replace(kind, near)) if near else None,
        )
    chip = CHIPS[kind]
    axes = 1 if chip.node else 3 if chip.wraps == 4 else 2
    if len(shape) != axes or not slices or not math.prod(shape):
        fit = next((k for k in KNOWN.split(", ") if k.startswith(f"{kind}:")), None)
        if len(shape) > axes:
            fit = name.rsplit("x", len(shape) - axes)[0]
        raise UserError(
            f"--topology={name}: {kind} takes {axes} numbers; for instance {KNOWN}",
            instead=(name, fit) if fit else None,
        )
    if chip.node and shape[0] > chip.node and shape[0] % chip.node:
        raise UserError(
            f"--topology={name}: more than {chip.node} GPUs come in nodes of {chip.node}"
        )
    if slices > 1 and (chip.dcn is None or chip.node):
        raise UserError(
            f"--topology={name}: several slices can be planned for v5e, v5p and v6e only, whose "
            "share of the data centre's network is published; for GPUs on several nodes write "
            "h100:16"
        )
    return Topology(name, chip, shape, slices)


def prepare_environment() -> None:
    """Sets what compilers need to work without their devices, before jax is imported.

    Raises:
      UserError: when this process already uses an accelerator.
    """
    if "jax" in sys.modules and sys.modules["jax"].default_backend() != "cpu":
        raise UserError(
            "plan --topology works in a process whose jax is on CPU, and this one's is not: "
            "use the command line, or set JAX_PLATFORMS=cpu before jax is imported"
        )
    os.environ.update(JAX_PLATFORMS="cpu", TPU_SKIP_MDS_QUERY="1")
    # libtpu complains at length that it finds no TPU workers.
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    # Only compilers: several processes may use them at once.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    os.environ.setdefault("TPU_MIN_LOG_LEVEL", "3")


def topology_devices(topology: Topology) -> Sequence[Any]:
    """Describes the topology's devices: they can be compiled for and nothing else.

    Raises:
      UserError: when the compiler is not installed, or knows no such slice.
    """
    return _gpus(topology) if topology.chip.node else _tpus(topology)


def _tpus(topology: Topology) -> Sequence[Any]:
    try:
        import libtpu  # noqa: F401
    except ImportError:
        raise UserError(
            f"--topology={topology.name} is compiled by libtpu, which is not installed: "
            f"{format_install('plan-tpu')} (libtpu, 0.7 GB; no TPU is needed)"
        ) from None
    from jax.experimental import topologies

    name = f"{topology.chip.name}:{'x'.join(map(str, topology.shape))}"
    options: dict[str, Any] = {}
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    if topology.chip.name == "v4":  # one device a chip, as on the machines, and not one a core
        options["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
    except Exception as e:  # noqa: BLE001 - jaxlib raises RuntimeError and its own kinds
        reason = str(e).splitlines()[0]
        raise UserError(
            f"--topology={topology.name}: libtpu knows no such slice ({reason}); known are {KNOWN}"
        ) from None


def _gpus(topology: Topology) -> Sequence[Any]:
    from jax.experimental import topologies

    from lepton_jax.plan.gpu_targets import TARGETS

    nodes, node = divmod(topology.count, topology.chip.node)
    shape = f"1x{nodes}x{topology.chip.node}" if nodes else f"1x1x{node}"
    try:
        description = topologies.get_topology_desc(
            platform="cuda",
            topology_name="",
            topology=shape,
            target_config=TARGETS[topology.chip.name],
        )
    except Exception as e:  # noqa: BLE001 - jaxlib raises RuntimeError and its own kinds
        raise UserError(
            f"--topology={topology.name} is compiled by XLA's CUDA plug-in, which does not answer "
            f"({str(e).splitlines()[0]}): {format_install('plan-gpu')} "
            "(CUDA libraries, 4.5 GB; no GPU is needed)"
        ) from None
    return description.devices
