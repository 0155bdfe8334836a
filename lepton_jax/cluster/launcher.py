"""Starts N processes of one command on this machine (`--processes=N`) and watches them as one.

Imports no JAX.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from lepton_jax.cluster.wire import free_port
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError

GRACE = 10.0
"""Seconds that the others have to end by themselves once one has failed."""
POLL = 0.05


def launch_processes(count: int, command: Sequence[str] = ()) -> int:
    """Runs `command`, by default this process's own, as `count` processes, and waits for them.

    Process 0 has this process's output; what the others write to stderr is shown as `[1] ...`.

    Returns:
      The exit code: 0 when all ended well, otherwise that of the process which failed; 128 + N
      after signal N.

    Raises:
      UserError: when there is nothing to start, or this process was not started with --processes,
        e.g. in a notebook.
    """
    if count < 1:
        raise UserError(f"--processes={count}: expected at least 1")
    command = command or _own_command()
    address = f"--coordinator=localhost:{free_port()}"
    children: list[subprocess.Popen[bytes]] = []
    with _pass_on_signals(children):
        for i in range(count):
            flags = [address, f"--num_processes={count}", f"--process_id={i}"]
            children.append(
                subprocess.Popen(
                    [*command, *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=None if i == 0 else subprocess.DEVNULL,
                    stderr=None if i == 0 else subprocess.PIPE,
                    start_new_session=True,  # a terminal's Ctrl-C comes from us, and once
                    preexec_fn=_die_with_parent,
                )
            )
        readers = [
            threading.Thread(target=_show, args=(i, child), daemon=True)
            for i, child in enumerate(children)
            if i > 0
        ]
        for reader in readers:
            reader.start()
        code = _wait(children)
    for reader in readers:
        reader.join(1.0)
    return code


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Waits until all have ended; kills the others some time after one has failed."""
    failed: list[int] = []
    deadline = float("inf")
    running = dict(enumerate(children))
    while running:
        time.sleep(POLL)
        for i, child in list(running.items()):
            code = child.poll()
            if code is None:
                continue
            del running[i]
            if code < 0:
                say(f"process {i} was killed by {signal.Signals(-code).name}")
            if code != 0:
                failed.append(code)
                deadline = min(deadline, time.monotonic() + GRACE)
        if running and time.monotonic() > deadline:
            names = ", ".join(f"process {i}" for i in running)
            say(f"{names} did not end within {GRACE:g} s: killed")
            for child in running.values():
                child.kill()
                child.wait()
            break
    # A process that has only lost another ends with 1: what the other ended with says more.
    cause = next((code for code in failed if code != 1), 1) if failed else 0
    return 128 - cause if cause < 0 else cause


def _own_command() -> list[str]:
    """Returns this process's command line without `--processes`."""
    words = sys.orig_argv
    kept = re.sub(r"\0--?processes[=\0][^\0]*", "", "\0" + "\0".join(words[1:]))
    command = [sys.executable, *kept.split("\0")[1:]]
    if len(command) == len(words):
        raise UserError(
            "several processes are started from a command line: "
            + format_command("train --processes=2 ...")
        )
    return command


def _die_with_parent() -> None:
    """Asks Linux, in a child, for SIGKILL as soon as the launcher is gone, however it ended."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextlib.contextmanager
def _pass_on_signals(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Passes SIGTERM and Ctrl-C on to every child; they agree on a step to stop at."""

    def handle(number: int, frame: Any) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    try:
        previous = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not in the main thread
        previous = {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for child in children:
            if child.poll() is None:
                child.kill()


def _show(index: int, child: subprocess.Popen[bytes]) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        with contextlib.suppress(OSError):  # it is read to its end, whoever listens to us
            os.write(2, b"[%d] " % index + line)
