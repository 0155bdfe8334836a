"""One of several processes, with the flags of `train`: `program.py SCENARIO --process_id=0 ...`.

The loop is a psum over every device, a step each 10 ms; a file `die`, `raise` or `sleep` with the
index of a process in the current folder makes it do so.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("scenario", help="one of the functions below")
parser.add_argument("--processes", type=int, default=1)
parser.add_argument("--coordinator", default="")
parser.add_argument("--num_processes", type=int, default=0)
parser.add_argument("--process_id", type=int, default=-1)
flags = parser.parse_args()
count, index = flags.num_processes, flags.process_id
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

from lepton_jax.cluster.environment import Launch  # noqa: E402
from lepton_jax.cluster.launcher import launch_processes  # noqa: E402
from lepton_jax.cluster.processes import Processes, join_processes  # noqa: E402
from lepton_jax.cluster.watchdog import Watchdog  # noqa: E402
from lepton_jax.errors import UserError, WorkError  # noqa: E402


def say(*words: object) -> None:
    print(*words, flush=True)


def make_step() -> Callable[[], float]:
    import jax
    import numpy as np
    from jax.sharding import AxisType, NamedSharding

    n = len(jax.devices())
    assert n == 2 * count
    mesh = jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, jax.P("data"))
    x = jax.make_array_from_callback((n,), rows, lambda i: np.arange(n, dtype=np.float32)[i])
    total = jax.jit(lambda x: x.sum())
    return lambda: float(total(x))


def asked(what: str) -> bool:
    return Path(f"{what}{index}").exists()


def loop(processes: Processes, patience: float = 60.0) -> None:
    """Takes steps until it is stopped; a file in the folder makes this process misbehave."""
    step = make_step()
    processes.on_loss(lambda: f"The last checkpoint is step {k}; run the same command again.")
    with Watchdog(patience, processes) as watchdog:
        for k in range(100_000):
            if processes.stop_agreed(k):
                say("stopped", k)
                return
            if asked("sleep"):
                time.sleep(3600)
            watchdog.beat(f"step {k}")
            if asked("die"):
                os.kill(os.getpid(), signal.SIGKILL)
            if asked("raise"):
                raise WorkError("the disk is full")
            if asked("crash"):
                raise ZeroDivisionError("a bug")
            if asked("busy"):  # as a long evaluation that this process alone is late with
                time.sleep(1)
                Path(f"busy{index}").unlink()
            assert step() == sum(range(2 * count))
            if k == 20:
                say("running")
            time.sleep(0.01)


def watchdog(processes: Processes) -> None:
    loop(processes, patience=2.0)


def talk(processes: Processes) -> None:
    """Exchanges values and takes a step; the scenarios below go on from here."""

    def make() -> dict[str, int]:
        assert processes.first
        return {"seed": 7}

    say(processes.share("x", make), processes.share("x", lambda: index))
    say(processes.gather("y", [index, "é"]))
    make_step()()


def mistake(processes: Processes) -> None:
    def fail() -> None:
        raise UserError("no such data set")

    talk(processes)
    processes.share("z", fail)


def absent(processes: Processes) -> None:
    def load() -> None:
        if index == 1:
            raise UserError("no such data set")

    talk(processes)
    processes.attempt("load", load)


def mismatch(processes: Processes) -> None:
    from lepton_jax.cluster.agreement import check_same

    talk(processes)
    facts = {"config": "ab", "packages": {"optax": f"0.2.{7 + index}", "jax": "0.10"}}
    check_same(processes, facts)


def silent(processes: Processes) -> None:
    talk(processes)
    if index == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    processes.gather("w", 0)


def late(processes: Processes) -> None:
    talk(processes)
    if index == 1:
        time.sleep(3600)
    processes.gather("w", 0)


def poll(processes: Processes) -> None:
    talk(processes)
    began = time.perf_counter()
    for k in range(100_000):
        processes.stop_agreed(k)
    say("poll", (time.perf_counter() - began) / 100_000)


SCENARIOS = {
    f.__name__: f for f in (loop, watchdog, talk, mistake, absent, mismatch, silent, late, poll)
}
PATIENCE = {"late": 3.0}
"""Seconds to wait for the others, where it is not 60."""


def main() -> int:
    if flags.processes > 1:
        code = launch_processes(flags.processes)
        assert "jax" not in sys.modules
        return code
    launch = Launch(flags.coordinator, count, index)
    patience = PATIENCE.get(flags.scenario, 60.0)
    try:
        with join_processes(launch, patience=patience, heartbeat=3.0) as processes:
            say("joined", os.getpid())
            SCENARIOS[flags.scenario](processes)
    except UserError as e:
        print(e, file=sys.stderr)
        return 2
    except WorkError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
