"""`config.profile`: a jax.profiler trace of some of a run's steps, in the workdir.

    profile/plugins/profile/DATE/HOST.trace.json.gz    for ui.perfetto.dev
    profile/plugins/profile/DATE/HOST.xplane.pb        for TensorBoard's profiler

With several processes each writes its own, below profile/process_INDEX.
"""

import os
import tempfile
from collections.abc import Callable
from typing import Any

import jax

from lepton_jax.cluster.processes import Processes
from lepton_jax.errors import UserError
from lepton_jax.io import files
from lepton_jax.training.loop import Feed
from lepton_jax.training.state import State, Totals


def profile_steps(
    feed: Feed,
    asked: tuple[int, int] | None,
    steps: range,
    workdir: str,
    processes: Processes,
    say: Callable[[str], None],
) -> Feed:
    """Returns `feed`, or a feed that traces the steps `asked` for, (first, count), on their way.

    `steps` are those that this process is about to take; steps outside of them are not traced, and
    `say` is told so.

    Raises:
      UserError: when `asked` names no step.
    """
    if asked is None:
        return feed
    first, count = asked
    if first < 0 or count < 1:
        raise UserError(f"profile = {asked}: expected (first step, number of steps), e.g. (10, 5)")
    if first not in steps:
        say(
            f"profile: step {first} is not among the steps {steps.start} to {steps.stop - 1} that "
            "are left to take, so there is no trace"
        )
        return feed
    folder = files.join_path(workdir, "profile")
    if processes.count > 1:
        folder = files.join_path(folder, f"process_{processes.index}")
    return _Profiled(feed, range(first, first + count), folder, say)


class _Profiled:
    """Traces the steps from the first of `wanted` to the last, and no others."""

    def __init__(self, feed: Feed, wanted: range, folder: str, say: Callable[[str], None]):
        self._feed, self._wanted, self._folder, self._say = feed, wanted, folder, say
        self._next = -1
        self._last: Totals | None = None
        self._remote: tempfile.TemporaryDirectory[str] | None = None
        self._tracing = False

    def inputs(self, k: int) -> tuple[Any, ...]:
        self._next = k
        if k == self._wanted.start:
            self._start()
        return self._feed.inputs(k)

    def step(self, state: State, sums: Totals, *inputs: Any) -> tuple[State, Totals]:
        with jax.profiler.StepTraceAnnotation("train", step_num=self._next):
            state, self._last = self._feed.step(state, sums, *inputs)
        if self._next == self._wanted.stop - 1:
            self._stop()
        return state, self._last

    def close(self) -> None:
        """Ends a trace that the run has cut short."""
        self._stop()
        self._feed.close()

    def _start(self) -> None:
        self._settle()  # else the trace would begin with the end of earlier steps
        if not files.is_local(self._folder):
            self._remote = tempfile.TemporaryDirectory()
        jax.profiler.start_trace(self._remote.name if self._remote else self._folder)
        self._tracing = True

    def _stop(self) -> None:
        if not self._tracing:
            return
        self._tracing = False
        try:
            self._settle()  # a step is dispatched long before it is done
        finally:
            jax.profiler.stop_trace()
        if self._remote:
            copy_folder(self._remote.name, self._folder)
            self._remote.cleanup()
        taken = self._next + 1 - self._wanted.start
        self._say(f"profile: {taken} steps from step {self._wanted.start} on, in {self._folder}")

    def _settle(self) -> None:
        if self._last is not None:
            self._last.values.block_until_ready()


def copy_folder(folder: str, to: str) -> None:
    """Copies the files below a local folder to another one, which may be in a bucket."""
    for at, _, names in os.walk(folder):
        target = files.join_path(to, *os.path.relpath(at, folder).split(os.sep))
        files.make_dir(target)
        for name in names:
            with open(os.path.join(at, name), "rb") as f:
                files.write_bytes(files.join_path(target, name), f.read())
