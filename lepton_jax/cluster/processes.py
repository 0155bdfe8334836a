"""The processes of one run: `join_processes` makes this one of them. Alone, all is trivial."""

import contextlib
import ctypes
import itertools
import os
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar, cast

from lepton_jax.cluster.environment import BY_ENVIRONMENT, Launch, ProcessSlot, find_slot
from lepton_jax.cluster.hub import Hub, process_name
from lepton_jax.cluster.peers import LAST_WORDS, Peers
from lepton_jax.cluster.relay import Relay
from lepton_jax.cluster.wire import listen
from lepton_jax.console import write_to_stderr
from lepton_jax.errors import UserError, WorkError, exit_code_of_error

T = TypeVar("T")

SHUTDOWN = 30
"""Seconds that JAX may take to end its coordination service once all processes are done."""


class Processes:
    """Which process this is, and what it does together with the others. See `join`."""

    def __init__(self, peers: Peers | None = None):
        self._peers = peers
        self.index = peers.index if peers else 0
        self.count = peers.count if peers else 1
        self._uses: dict[str, Iterator[int]] = defaultdict(itertools.count)
        self._agreed: Exception | None = None

    @property
    def first(self) -> bool:
        """Whether this is process 0, which alone writes the record."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Returns `process 1 (host b, pid 4242)`."""
        return process_name(index, self._peers.who[index] if self._peers else None)

    def share(self, name: str, make: Callable[[], T]) -> T:
        """Calls `make` in process 0 and returns its JSON value in every process; waits for all.

        Raises:
          UserError, WorkError: in every process, when `make` does in process 0.
        """
        if self._peers is None:
            return make()
        told: dict[str, Any] | None = None
        if self.first:
            try:
                told = {"value": make()}
            except (UserError, WorkError) as e:
                told = {"error": "UserError" if isinstance(e, UserError) else "WorkError"}
                told["text"] = str(e)
        told = self.gather(name, told)[0]
        assert told is not None
        if "error" in told:
            kind = UserError if told["error"] == "UserError" else WorkError
            raise self.agree_on(kind(told["text"]))
        return told["value"]

    def attempt(self, name: str, make: Callable[[], T]) -> T:
        """Calls `make` in every process and returns what it returns here; waits for all.

        Raises:
          UserError: in every process, when `make` does in any of them. It says in which process,
            where not all of them have the same error.
        """
        value, problem, own = None, None, UserError("")
        try:
            value = make()
        except UserError as e:
            problem, own = str(e), e
        problems = self.gather(name, problem)
        failed = next((i for i, text in enumerate(problems) if text is not None), None)
        if failed is not None:
            same = all(text == problems[0] for text in problems)
            text = f"{problems[failed]}" if same else f"{self.name(failed)}: {problems[failed]}"
            raise self.agree_on(own.retold(text))
        return cast(T, value)

    def gather(self, name: str, value: T) -> list[T]:
        """Gives a JSON value and waits for all. Returns everybody's, in the order of processes.

        A process that gives none within `patience` seconds of the first ends the run, and is named.
        """
        if self._peers is None:
            return [value]
        return self._peers.exchange(f"{name}#{next(self._uses[name])}", value)

    def stop_agreed(self, step: int) -> bool:
        """Returns whether SIGTERM or Ctrl-C, to any process, stops the run before `step`.

        Ask it before every step: all processes get the same answer for the same step. A process
        that is alone always gets False and handles its signals itself.
        """
        return self._peers is not None and self._peers.stop_agreed(step)

    def agree_on(self, error: Exception) -> Exception:
        """Notes that every process is about to raise `error`, so that none tells the others."""
        self._agreed = error
        return error

    def on_loss(self, last_words: Callable[[], str]) -> None:
        """Prints `last_words()` when a process is lost: what is left, and what to do."""
        if self._peers is not None:
            self._peers.last_words = last_words

    def report_beats(self, last_beat: Callable[[], tuple[int, str]]) -> None:
        """Has the hub told `last_beat()`: how many beats the watchdog has had, and the last one."""
        if self._peers is not None:
            self._peers.last_beat = last_beat

    def stalled(self, text: str) -> None:
        """Ends all processes, which print where they are and who is behind; the hub knows who."""
        if self._peers is not None:
            self._peers.stalled(text)

    def fail(self, error: BaseException) -> NoReturn:
        """Ends the run because of what happened here: the others say so and end at once.

        Alone, raises `error`. Otherwise prints it as the command line would and leaves by
        `os._exit`, since an ordinary exit waits for the others in JAX's barriers.
        """
        if self._peers is None or error is self._agreed:
            raise error
        code = exit_code_of_error(error)
        if isinstance(error, UserError | WorkError):
            text = str(error)
            write_to_stderr(text)
        elif isinstance(error, KeyboardInterrupt):
            text, code = "interrupted", 130
        else:
            # A broken collective is how the loss of another shows: the hub says whose, and ends us.
            time.sleep(LAST_WORDS)
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            write_to_stderr("".join(traceback.format_exception(error)).rstrip())
        self._peers.fail(text)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)


@contextlib.contextmanager
def join_processes(
    launch: Launch = BY_ENVIRONMENT, patience: float = 300.0, heartbeat: float = 30.0
) -> Iterator[Processes]:
    """Joins this process to the others of its run, if flags or the environment name some.

    Enter it before anything asks JAX for its devices. Leaving it waits for the others; an
    exception that leaves it is told to them.

    Args:
      launch: what the flags say; nothing where Slurm, Open MPI or the TPU pod says it, or where
        there is one process.
      patience: seconds to wait for a late process, at the start and in `share` and `gather`.
      heartbeat: seconds after which a silent process counts as lost; a killed one is noticed at
        once.

    Raises:
      UserError: when flags are missing or contradict each other.
      WorkError: when the processes do not find each other.
    """
    slot = find_slot(launch, patience)
    if slot is None:
        yield Processes()
        return
    peers = _meet(slot, patience, heartbeat)
    processes = Processes(peers)
    with peers.signals(), _stdout_for_python():
        try:
            _initialize_jax(slot, peers, patience, heartbeat)
            yield processes
        except BaseException as e:
            if e is not processes._agreed:
                processes.fail(e)
            _leave(peers)
            raise
        _leave(peers)


@contextlib.contextmanager
def _stdout_for_python() -> Iterator[None]:
    """Sends what C++ prints to stdout to stderr while it is entered: Gloo would break `--json`."""
    sys.stdout.flush()
    original, python = os.dup(1), sys.stdout
    os.dup2(2, 1)
    sys.stdout = os.fdopen(os.dup(original), "w", buffering=1)
    try:
        yield
    finally:
        sys.stdout.close()
        sys.stdout = python
        ctypes.CDLL(None).fflush(None)
        os.dup2(original, 1)
        os.close(original)


def _meet(slot: ProcessSlot, patience: float, heartbeat: float) -> Peers:
    host, port = slot.coordinator
    if slot.index == 0:
        try:
            server = listen(port)
        except OSError as e:
            raise WorkError(
                f"process 0 cannot listen on port {port} ({e.strerror or e}): does another run use "
                "it? Choose another --coordinator"
            ) from None
        Hub(server, slot.count, patience, heartbeat)
        host = "localhost"
    return Peers((host, port), slot.index, slot.count, patience, heartbeat)


def _initialize_jax(slot: ProcessSlot, peers: Peers, patience: float, heartbeat: float) -> None:
    import jax

    # Its SIGTERM handler would take the signal from us.
    jax.config.update("jax_enable_preemption_service", False)
    port = peers.port
    if peers.index != 0:
        port = Relay((slot.coordinator[0], port), patience).port
    jax.distributed.initialize(
        f"localhost:{port}",
        slot.count,
        slot.index,
        local_device_ids=slot.local_device_ids,
        cluster_detection_method="deactivate",
        initialization_timeout=int(patience),
        heartbeat_timeout_seconds=int(10 * heartbeat),  # ours speaks first
        shutdown_timeout_seconds=SHUTDOWN,
    )


def _leave(peers: Peers) -> None:
    import jax

    peers.leave()
    jax.distributed.shutdown()
