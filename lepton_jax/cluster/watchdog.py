"""Ends a run that stands still, e.g. in a collective that one process never joins, and says where.

Nothing else would end it: neither JAX nor the network notices, and SIGTERM waits for the main
thread.
"""

import os
import threading
import time

from lepton_jax.cluster.peers import print_stacks
from lepton_jax.cluster.processes import Processes
from lepton_jax.console import write_to_stderr

TO_HEAR = 5.0
"""Seconds for the news of the standstill to come back from process 0 with who is behind."""


class Watchdog:
    """Ends the run, exit code 1, when no beat comes for `timeout` seconds; prints all stacks.

    with Watchdog(600, processes) as watchdog:
        watchdog.beat("step 120")

    A beat holds good until the next one, so `timeout` must exceed the longest compilation.
    """

    def __init__(self, timeout: float, processes: Processes):
        self._timeout, self._processes = timeout, processes
        self._last = (0, "the start", time.monotonic())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, what: str) -> None:
        """Notes what is about to be done, e.g. 'step 120'; every process makes the same beats."""
        self._last = (self._last[0] + 1, what, time.monotonic())

    def __enter__(self) -> "Watchdog":
        self.beat("the start")
        self._processes.report_beats(lambda: self._last[:2])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._timeout / 10):
            _, what, since = self._last
            if time.monotonic() - since > self._timeout:
                self._end(f"no progress for {self._timeout:g} s after {what}")

    def _end(self, text: str) -> None:
        if self._processes.count > 1:
            self._processes.stalled(text)  # every process prints its stacks when it hears of it
            time.sleep(TO_HEAR)
        print_stacks()
        write_to_stderr(text)
        os._exit(1)
