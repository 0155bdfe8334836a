"""How a run is asked to save and stop: by SIGTERM or Ctrl-C, to any of its processes."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lepton_jax.cluster.processes import Processes
from lepton_jax.console import write_to_stderr


@contextmanager
def listen_for_stop(processes: Processes) -> Iterator[Callable[[int], bool]]:
    """Yields a function that tells, before each step, whether to save and stop."""
    if processes.count > 1:
        yield processes.stop_agreed
    else:
        with _stop_signals() as stop:
            yield lambda step: stop()


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether a SIGTERM or Ctrl-C came; a second one kills."""
    received: list[int] = []

    def handle(number: int, frame: Any) -> None:
        received.append(number)
        name = signal.Signals(number).name
        write_to_stderr(f"\n{name}: saving, then stopping (again to stop at once)")
        for n, old in previous.items():
            signal.signal(n, old)

    previous: dict[int, Any] = {}
    try:
        for number in (int(signal.SIGTERM), int(signal.SIGINT)):
            previous[number] = signal.signal(number, handle)
    except ValueError:  # not in the main thread: a notebook's or a server's signals are its own
        previous.clear()
    try:
        yield lambda: bool(received)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
