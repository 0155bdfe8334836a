"""A process's connection to the hub: through it processes exchange values, agree on a step to stop
at, and hear at once of one that is lost.

A daemon thread reads it. On bad news it prints one sentence and what is left, and ends the process
by `os._exit`: an ordinary exit would wait for the lost one in JAX's barriers, and the main thread
may be inside a collective that never returns.
"""

import contextlib
import faulthandler
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from lepton_jax.cluster.hub import Who, process_name
from lepton_jax.cluster.wire import Message, Wire
from lepton_jax.console import write_to_stderr
from lepton_jax.errors import UserError, WorkError

AGAIN = 1.0
"""Seconds within which a second signal is the same notice: some schedulers send several."""
LAST_WORDS = 2.0
"""Seconds that a dying process may spend on finding out what to say."""


class Peers:
    """Connects to the hub at `address` and returns when all processes have come.

    Attributes:
      who: host and pid of every process, in order.
      port: where the hub's process will have JAX's coordination service.
      last_words: asked when a run ends badly: what is left of it, in a sentence.
      last_beat: asked now and then: how many beats the watchdog has had, and what the last was.

    Raises:
      UserError: when the hub knows of another number of processes, or of this one already.
      WorkError: when it cannot be reached, or a process is missing, within `patience` seconds.
    """

    def __init__(
        self,
        address: tuple[str, int],
        index: int,
        count: int,
        patience: float,
        heartbeat: float,
    ):
        self.index, self.count, self._heartbeat = index, count, heartbeat
        self.last_words: Callable[[], str] = str
        self.last_beat: Callable[[], tuple[int, str]] = lambda: (0, "the start")
        self._wire = _connect(address, patience)
        self._wire.send(
            kind="hello", index=index, count=count, host=socket.gethostname(), pid=os.getpid()
        )
        welcome, rest = _welcome(self._wire, patience + heartbeat)
        self.who: Sequence[Who] = welcome["who"]
        self.port: int = welcome["port"]
        self._values: dict[str, list[Any]] = {}
        self._given = threading.Condition()
        self._all_done, self._fail_heard = threading.Event(), threading.Event()
        self._polling = threading.Lock()
        self._polled = -1  # the last step that this process went on from
        self._held = False
        self._stop_at: int | None = None
        self._agreed = threading.Event()
        self._signalled: float | None = None
        self._signals, self._wakeup = socket.socketpair()
        for end in (self._signals, self._wakeup):
            end.setblocking(False)
        threading.Thread(target=self._run, args=(rest,), name="peers", daemon=True).start()

    def exchange(self, name: str, value: Any) -> list[Any]:
        """Gives a JSON value and waits for all. Returns everybody's, in the order of processes.

        Args:
          name: what the value is called; used once in a run.
        """
        self._wire.send(kind="give", name=name, value=value)
        with self._given:
            self._given.wait_for(lambda: name in self._values)
            return self._values.pop(name)

    def stop_agreed(self, step: int) -> bool:
        """Returns whether to stop before `step`: to the same step the same answer in all processes.

        After a notice no process goes on until all have told how far they are. A thread of each
        tells it, so that a process which compiles or waits for another holds nobody up.
        """
        with self._polling:
            if not self._held:
                self._polled = max(self._polled, step)
                return False
        self._agreed.wait()  # a hub that does not answer ends this process
        assert self._stop_at is not None
        return step >= self._stop_at

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turns SIGTERM or Ctrl-C, while entered, into a request to all processes to stop.

        A second one ends this process at once. The signal's number comes by a file descriptor,
        since a Python handler would have to wait until the main thread comes out of a compilation
        or a collective.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        previous = {n: signal.signal(n, lambda *_: None) for n in numbers}
        wakeup = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stalled(self, text: str) -> None:
        """Tells all that no step was taken for too long; each prints its stacks and ends."""
        count, what = self.last_beat()
        self._wire.send(kind="stalled", text=text, count=count, what=what)

    def fail(self, text: str) -> None:
        """Tells the others why this process ends; they name it and end as well."""
        if self._wire.send(kind="fail", text=text):
            self._fail_heard.wait(LAST_WORDS)
        if self.index == 0:
            self._let_all_hear()

    def leave(self) -> None:
        """Waits until every process is done, after which none is missed."""
        self._wire.send(kind="done")
        self._all_done.wait()

    def _run(self, messages: list[Message]) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._wire, selectors.EVENT_READ)
        selector.register(self._signals, selectors.EVENT_READ)
        interval = self._heartbeat / 10
        heard = ticked = time.monotonic()
        for message in messages:
            self._handle(message)
        while True:
            for key, _ in selector.select(timeout=interval):
                if key.fileobj is self._signals:
                    self._signal(self._signals.recv(64))
                    continue
                received = self._wire.receive()
                if received is None:
                    if self._all_done.is_set():
                        return
                    how = "its connection closed: it was killed or crashed"
                    self._end(f"lost {process_name(0, self.who[0])}: {how}")
                heard = time.monotonic()
                for message in received:
                    self._handle(message)
            now = time.monotonic()
            if now - heard > self._heartbeat and not self._all_done.is_set():
                how = f"silent for {self._heartbeat:g} s"
                self._end(f"lost {process_name(0, self.who[0])}: {how}")
            if now - ticked >= interval:
                ticked = now
                count, what = self.last_beat()
                self._wire.send(kind="beat", count=count, what=what)

    def _handle(self, message: Message) -> None:
        match message["kind"]:
            case "given":
                with self._given:
                    self._values[message["name"]] = message["values"]
                    self._given.notify_all()
            case "hold":
                with self._polling:
                    self._held = True
                self._wire.send(kind="at", step=self._polled)
            case "stop_at":
                self._stop_at = message["step"]
                self._agreed.set()
            case "heard":
                self._fail_heard.set()
            case "news":
                self._end(message["text"], message["stacks"])
            case "done":
                self._all_done.set()

    def _signal(self, numbers: bytes) -> None:
        name = signal.Signals(numbers[0]).name
        now = time.monotonic()
        if self._signalled is None:
            self._signalled = now
            write_to_stderr(f"{name}: all processes save, then stop (again to stop at once)")
            self._wire.send(kind="stop")
        elif now - self._signalled > AGAIN:
            self._wire.send(kind="fail", text=f"{name}, twice")
            if self.index == 0:
                self._let_all_hear()
            os._exit(128 + numbers[0])

    def _end(self, text: str, stacks: bool = False) -> NoReturn:
        """Ends this process with exit code 1; prints one sentence and what is left of the run."""
        if stacks:
            print_stacks()
        words: list[str] = []
        _within(LAST_WORDS, lambda: words.append(self.last_words()))
        write_to_stderr("\n".join([text, *filter(None, words)]))
        if self.index == 0:
            self._let_all_hear()
        _within(LAST_WORDS, sys.stdout.flush)
        os._exit(1)

    def _let_all_hear(self) -> None:
        """Waits a moment: a hub that ends with unread messages would take back what it has sent."""
        time.sleep(0.3)


def print_stacks() -> None:
    """Writes the stacks of all threads of this process to stderr."""
    write_to_stderr(f"where the threads of pid {os.getpid()} are:")
    faulthandler.dump_traceback(file=2, all_threads=True)


def _within(seconds: float, call: Callable[[], Any]) -> None:
    """Makes a call in a thread, and gives up on it when it raises or takes longer."""

    def quiet() -> None:
        with contextlib.suppress(Exception):
            call()

    thread = threading.Thread(target=quiet, daemon=True)
    thread.start()
    thread.join(seconds)


def _connect(address: tuple[str, int], patience: float) -> Wire:
    deadline = time.monotonic() + patience
    while True:
        try:
            return Wire(socket.create_connection(address, timeout=patience))
        except OSError as e:
            if time.monotonic() > deadline:
                raise WorkError(
                    f"process 0 cannot be reached at {address[0]}:{address[1]} for {patience:g} s "
                    f"({e.strerror or e}): is it running there, and is the port open?"
                ) from None
        time.sleep(0.1)


def _welcome(wire: Wire, patience: float) -> tuple[Message, list[Message]]:
    """Waits for the hub's welcome. Returns it, and the messages that came with it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        messages = wire.receive()
        if messages is None:
            raise WorkError("process 0 ended before all processes had come")
        for i, message in enumerate(messages):
            match message["kind"]:
                case "welcome":
                    return message, messages[i + 1 :]
                case "refused":
                    raise UserError(message["text"])
                case "news":
                    raise WorkError(message["text"])
    raise WorkError(f"process 0 said nothing for {patience:g} s")
