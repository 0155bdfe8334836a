"""The strategies that `config.strategy` names. Each makes a `Placement` of some devices."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from lepton_jax.config.schema import PositiveInt
from lepton_jax.errors import UserError
from lepton_jax.placement.mesh import Placement

Devices = Sequence[Any]


def jit(devices: Devices) -> Placement:
    """Places a run on one device of one process.

    Raises:
      UserError: when there are several processes.
    """
    processes = len({d.process_index for d in devices})
    if processes > 1:
        raise UserError(
            f"strategy jit runs on one device of one process, and there are {processes} processes; "
            "choose --config.strategy.name=pmap or mesh"
        )
    return Placement("jit", _mesh({"data": 1}, devices[:1]))


def pmap(devices: Devices, *, devices_used: PositiveInt | None = None) -> Placement:
    """Places a replica of the state on each device, and a shard of the batch: data parallelism.

    The step reduces by explicit collectives: what `jax.pmap` did, as `jit(shard_map(step))`.

    Keys:
      devices_used: how many devices; None: all of them.
    """
    devices = _first(devices, devices_used, "strategy pmap: devices_used")
    return Placement("pmap", _mesh({"data": len(devices)}, devices), manual=True)


def mesh(
    devices: Devices,
    *,
    data: PositiveInt | None = None,
    fsdp: PositiveInt = 1,
    tensor: PositiveInt = 1,
    spread_moments: bool = False,
) -> Placement:
    """Places one program over a mesh of data x fsdp x tensor devices.

    Keys:
      data: the replicas; None: as many as the other axes leave.
      fsdp: over how many devices the batch, parameters and optimizer state are sharded; parameters
        are gathered where they are used.
      tensor: over how many devices the layers themselves are sharded, as the model's sharding rules
        say.
      spread_moments: whether optimizer state and averages are sharded over `data` as well; only the
        parameters are then replicated (ZeRO-1, Rajbhandari et al. 2020).
    """
    if data is None:
        data, left = divmod(len(devices), fsdp * tensor)
        if left or not data:
            fits = [n for n in range(1, fsdp + 1) if len(devices) % (n * tensor) == 0]
            fewer = [("--config.strategy.fsdp", f"--config.strategy.fsdp={n}") for n in fits[-1:]]
            instead = fewer[0] if fewer else None
            what = f"strategy mesh: fsdp {fsdp} x tensor {tensor}"
            if not data:
                raise _too_few(what, fsdp * tensor, devices, instead)
            raise UserError(
                f"{what} does not divide the {len(devices)} devices there are; give strategy.data "
                "too, to use fewer",
                instead=instead,
            )
    devices = _first(
        devices, data * fsdp * tensor, f"strategy mesh: data {data} x fsdp {fsdp} x tensor {tensor}"
    )
    grid = _mesh({"data": data, "fsdp": fsdp, "tensor": tensor}, devices)
    return Placement("mesh", grid, spread_moments=spread_moments)


def place_as_recorded(said: Mapping[str, Any], devices: Devices) -> Placement | None:
    """Places a run as a start of it was placed. `said` is `Placement.as_json` of that.

    Returns None where the strategy was none of those here.

    Raises:
      UserError: when there are fewer devices than it had.
    """
    match said["strategy"]:
        case "jit":
            return jit(devices)
        case "pmap":
            return pmap(devices, devices_used=said["devices"])
        case "mesh":
            return mesh(devices, **said["axes"], spread_moments=bool(said.get("spread_moments")))
    return None


def _first(devices: Devices, count: int | None, what: str) -> Devices:
    count = len(devices) if count is None else count
    if count > len(devices):
        raise _too_few(what, count, devices)
    if count < len(devices) and len({d.process_index for d in devices}) > 1:
        raise UserError(
            f"{what} asks for {count} of {len(devices)} devices: with several processes each must "
            "use all of its own"
        )
    return devices[:count]


def _too_few(
    what: str, count: int, devices: Devices, instead: tuple[str, ...] | None = None
) -> UserError:
    there = "here is 1" if len(devices) == 1 else f"here are {len(devices)}"
    before = simulated_devices(count)
    simulate = f"; to simulate them on a CPU: {before.strip()} before the command" if before else ""
    return UserError(f"{what} needs {count} devices, and {there}{simulate}", instead=instead)


def simulated_devices(count: int) -> str:
    """Returns what stands before a command that simulates `count` devices on a CPU.

    '' where there are as many, or where jax computes on another kind of device.
    """
    if jax.default_backend() != "cpu" or count <= jax.device_count():
        return ""
    return f"XLA_FLAGS=--xla_force_host_platform_device_count={count} "


def _mesh(shape: dict[str, int], devices: Devices) -> Mesh:
    """Makes a mesh: neighbours in its last axis are neighbours in the machine, and slices of TPUs
    differ in its first.
    """
    sizes, names = tuple(shape.values()), tuple(shape)
    slices = len({getattr(d, "slice_index", 0) for d in devices})
    if sizes[0] % slices:
        raise UserError(
            f"strategy axis {names[0]} = {sizes[0]} is not a multiple of the {slices} slices; the "
            "other axes must exchange data inside one slice only"
        )
    # An axis may have to share one of the torus, as 8 of 4 x 4 x 4.
    if slices > 1:
        inside = (sizes[0] // slices, *sizes[1:])
        across = (slices, *(1 for _ in sizes[1:]))
        grid = mesh_utils.create_hybrid_device_mesh(
            inside, across, devices=devices, allow_split_physical_axes=True
        )
    else:
        grid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(np.asarray(grid), names, axis_types=(AxisType.Auto,) * len(names))
