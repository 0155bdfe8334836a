"""How long a compiled step takes on paper: three times, each from a count and a published number.

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
    """Seconds a step."""

    compute: float
    memory: float
    links: float

    @property
    def shortest(self) -> float:
        """Everything hidden behind the longest of the three."""
        return max(self.compute, self.memory, self.links)

    @property
    def longest(self) -> float:
        """Nothing hidden: a device waits for its memory, and then for the others."""
        return max(self.compute, self.memory) + self.links

    def utilization(self, model_flops: float, work: float, seconds: float) -> float:
        """MFU: the share of peak that goes into model FLOPs, at so many seconds a step."""
        return self.compute / seconds * model_flops / work if work else 0.0


def estimate_step(
    topology: Topology,
    precision: str,
    devices: Sequence[Any],
    work: float,
    traffic: float,
    sent: Sequence[Collective],
) -> Estimate:
    """`devices`: those of the mesh; `work`: FLOPs of a step on all of them together."""
    chip = topology.chip
    peak = chip.float32 if precision == "float32" else chip.bfloat16
    return Estimate(
        compute=work / (len(devices) * peak),
        memory=traffic / chip.hbm_bandwidth,
        links=sum(link_seconds(c, devices, topology) for c in sent),
    )


def link_seconds(collective: Collective, devices: Sequence[Any], topology: Topology) -> float:
    """Seconds a step for one collective, latency not counted.

    A group that spans slices (or nodes) works inside each of them first; then each device exchanges
    its own part with its like in the others, over the data centre's network.
    """
    members = [devices[place] for place in collective.group]
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
    """In how many slices, or nodes, a group has members."""
    return len({_domain(devices[place], topology.chip) for place in collective.group})


def link_bandwidth(members: Sequence[Any], topology: Topology) -> float:
    """Bytes a second that each of the group's devices can send to the others, inside its slice.

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
    """Where fast links end: the TPU slice, the GPU node."""
    if chip.node:
        return device.id // chip.node
    return getattr(device, "slice_index", None) or 0
