"""Finds whether this process is one of several, and which: by flags, or by what started it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lepton_jax.cluster.wire import split_address
from lepton_jax.errors import UserError, WorkError


@dataclass(frozen=True)
class Launch:
    """What the flags say of a process that is one of several; by default they say nothing."""

    coordinator: str = ""
    """'HOST:PORT' of process 0."""
    num_processes: int = 0
    process_id: int = -1


BY_ENVIRONMENT = Launch()
"""No flags: Slurm, Open MPI or a TPU pod says it, or else the process is alone."""


@dataclass(frozen=True)
class ProcessSlot:
    """Which of several processes this one is, and where process 0 listens."""

    coordinator: tuple[str, int]
    """Host and port of process 0."""
    count: int
    index: int
    local_device_ids: Sequence[int] | None = None
    """None: all devices of this host."""


def find_slot(
    launch: Launch, patience: float, environ: Mapping[str, str] = os.environ
) -> ProcessSlot | None:
    """Finds which of several processes this one is, by flags or by what started it.

    Returns None when it is alone.

    Raises:
      UserError: when only some of the flags are given, or they contradict each other.
      WorkError: when the cluster's environment cannot be read.
    """
    coordinator = launch.coordinator or environ.get("JAX_COORDINATOR_ADDRESS", "")
    num_processes, process_id = launch.num_processes, launch.process_id
    is_given = {
        "--coordinator": bool(coordinator),
        "--num_processes": num_processes > 0,
        "--process_id": process_id >= 0,
    }
    if all(is_given.values()):
        if process_id >= num_processes:
            raise UserError(
                f"--process_id={process_id} with --num_processes={num_processes}: "
                f"expected 0 to {num_processes - 1}"
            )
        if num_processes == 1:
            return None
        return ProcessSlot(_address(coordinator), num_processes, process_id)
    if not started_as_several(environ):
        if not any(is_given.values()):
            return None
        have, lack = (
            [flag for flag, v in is_given.items() if v is wanted] for wanted in (True, False)
        )
        raise UserError(
            f"{', '.join(have)} without {', '.join(lack)}: one process of several needs all three, "
            "e.g. --coordinator=HOST:1234 --num_processes=2 --process_id=0"
        )
    return _detect(coordinator, num_processes, process_id, patience)


def started_as_several(environ: Mapping[str, str]) -> bool:
    """Returns whether Slurm, Open MPI or a TPU pod says that there are several processes."""

    def number(name: str) -> int:
        value = environ.get(name, "")
        return int(value) if value.isdigit() else 0

    workers = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES", "")
    return (
        number("SLURM_STEP_NUM_TASKS") > 1
        or number("OMPI_COMM_WORLD_SIZE") > 1
        or number("MEGASCALE_NUM_SLICES") > 1
        or "," in workers
    )


def _detect(coordinator: str, num_processes: int, process_id: int, patience: float) -> ProcessSlot:
    from jax._src.clusters import ClusterEnv  # JAX's own reading of Slurm, Open MPI, TPU pods

    try:
        address, count, index, devices = ClusterEnv.auto_detect_unset_distributed_params(
            coordinator or None,
            num_processes or None,
            process_id if process_id >= 0 else None,
            None,
            None,
            int(patience),
        )
    except (RuntimeError, ValueError, KeyError, OSError) as e:
        raise WorkError(f"the cluster's environment cannot be read: {e}") from None
    if address is None or count is None or index is None:
        raise UserError(
            "several processes were started, but JAX cannot find which of them this is: give "
            "--coordinator, --num_processes and --process_id"
        )
    return ProcessSlot(_address(address), count, index, devices)


def _address(text: str) -> tuple[str, int]:
    try:
        return split_address(text)
    except ValueError:
        raise UserError(f"--coordinator={text}: expected HOST:PORT, e.g. node7:1234") from None
