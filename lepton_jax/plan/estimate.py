"""Estimates how long a compiled step takes: three times, each a count by a published number.

    compute = FLOPs / (devices x peak FLOP/s)
    memory  = bytes a device moves in its HBM / HBM bandwidth
    links   = sum over collectives of bytes sent / bandwidth of the links that the group has

On a device the three overlap as far as the compiler can hide one behind another, so a step takes
between their maximum and their sum. Imports: the standard library only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.perf.chips import Chip
from lepton_jax.plan.collectives import Collective, share_sent
from lepton_jax.plan.topology import Topology


@dataclass(frozen=True)
class Estimate:
    """Seconds of a step, three times that overlap as far as the compiler can make them."""

    compute: float
    memory: float
    links: float

    @property
    def shortest(self) -> float:
        """Seconds when all is hidden behind the longest of the three."""
        return max(self.compute, self.memory, self.links)

    @property
    def longest(self) -> float:
        """Seconds when no communication is hidden behind computation or memory."""
        return max(self.compute, self.memory) + self.links

    def utilization(self, model_flops: float, work: float, seconds: float) -> float:
        """Returns the MFU, the share of peak FLOP/s that goes into model FLOPs, for a step time."""
        return self.compute / seconds * model_flops / work if work else 0.0


def estimate_step(
    topology: Topology,
    precision: str,
    devices: Sequence[Any],
    work: float,
    traffic: float,
    sent: Sequence[Collective],
) -> Estimate:
    """Estimates the times of a step.

    Args:
      devices: those of the mesh.
      work: FLOPs of a step on all of them together.
      traffic: bytes that one device moves in its memory.
      sent: the step's collectives.
    """
    chip = topology.chip
    peak = chip.float32 if precision == "float32" else chip.bfloat16
    return Estimate(
        compute=work / (len(devices) * peak),
        memory=traffic / chip.hbm_bandwidth,
        links=sum(link_seconds(c, devices, topology) for c in sent),
    )


def link_seconds(collective: Collective, devices: Sequence[Any], topology: Topology) -> float:
    """Returns the seconds that one collective takes in a step, latency not counted.

    A group that spans slices (or nodes) works inside each of them first. Then each device exchanges
    its own part with its counterparts in the others, over the data centre's network.
    """
    members = [devices[i] for i in collective.group]
    home = _domain(members[0], topology.chip)
    near = [d for d in members if _domain(d, topology.chip) == home]
    inside, across = len(near), count_domains(collective, devices, topology)
    seconds = 0.0
    if inside > 1:
        size = collective.bytes * share_sent(collective.kind, inside)
        seconds += size / link_bandwidth(near, topology)
    if across > 1:
        size = collective.bytes / inside * share_sent(collective.kind, across)
        assert topology.chip.dcn is not None, "topology.parse refuses such slices"
        seconds += size / topology.chip.dcn
    return collective.runs * seconds


def count_domains(collective: Collective, devices: Sequence[Any], topology: Topology) -> int:
    """Returns in how many slices, or nodes, a group has members."""
    return len({_domain(devices[i], topology.chip) for i in collective.group})


def link_bandwidth(members: Sequence[Any], topology: Topology) -> float:
    """Returns the bytes a second that each device of a group can send to the others of its slice.

    A TPU group that extends along an axis of the torus has that axis's link, and both directions
    of it where the axis closes to a ring.
    """
    chip = topology.chip
    if not chip.wraps:
        return chip.link
    links = 0
    for axis, size in enumerate(topology.shape):
        extent = len({d.coords[axis] for d in members})
        ring = extent == size and size > 2 and size % chip.wraps == 0
        links += 0 if extent == 1 else 2 if ring else 1
    return chip.link * max(1, links)


def _domain(device: Any, chip: Chip) -> int:
    """Returns the number of the TPU slice or GPU node, beyond which fast links end."""
    if chip.node:
        return device.id // chip.node
    return getattr(device, "slice_index", None) or 0
