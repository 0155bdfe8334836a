"""The meeting point of a run's processes: a thread of process 0, to which every process connects.

It hears all of them, is the first to know of a process that is lost, and tells the others. Each
message has a `kind`:

    hello {index, host, pid}      welcome {who, port} when all have come
    beat {count, what}            beat, as often
    give {name, value}            given {name, values} when all have given
    stop                          hold; then at {step} from each; then stop_at {step}
    fail {text}, stalled {text}   heard; then news {text, stacks} to the others, who end
    done                          done when all are
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from lepton_jax.cluster.wire import Message, Wire, free_port

Who = Mapping[str, Any]
"""`host` and `pid` of a process."""


def process_name(index: int, who: Who | None) -> str:
    """Returns `process 1 (host b, pid 4242)`, or without `who` its number alone."""
    return f"process {index}" + (f" ({who['host']}, pid {who['pid']})" if who else "")


class Hub:
    """Serves `count` processes.

    Args:
      patience: seconds that the others wait for one that does not come, or gives no answer.
      heartbeat: seconds that one may be silent before it counts as lost.
    """

    def __init__(self, server: socket.socket, count: int, patience: float, heartbeat: float):
        self._server, self._count = server, count
        self._patience, self._heartbeat = patience, heartbeat
        self._members: dict[int, Wire] = {}
        self._index: dict[Wire, int] = {}
        self._who: dict[int, Who] = {}
        self._heard: dict[int, float] = {}
        self._beats: dict[int, tuple[int, str]] = {}
        self._values: dict[str, dict[int, Any]] = {}
        self._asked: dict[str, float] = {}
        self._held: dict[int, int] | None = None
        self._stop_at: int | None = None
        self._done: set[int] = set()
        self._ended = False
        self._began = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._selector.register(server, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="hub", daemon=True).start()

    def _run(self) -> None:
        interval = self._heartbeat / 10
        ticked = time.monotonic()
        while True:
            for key, _ in self._selector.select(timeout=interval):
                if key.fileobj is self._server:
                    with contextlib.suppress(OSError):
                        wire = Wire(self._server.accept()[0])
                        self._selector.register(wire, selectors.EVENT_READ)
                elif isinstance(key.fileobj, Wire):
                    self._read(key.fileobj)
            if time.monotonic() - ticked >= interval:
                ticked = time.monotonic()
                self._tick(ticked)

    def _read(self, wire: Wire) -> None:
        index = self._index.get(wire)
        try:
            messages = wire.receive()
            if index is None and messages:
                self._hello(wire, messages.pop(0))
                index = self._index.get(wire)
        except (ValueError, KeyError):  # no process of ours sends such a message
            messages = None
        if messages is None:
            self._selector.unregister(wire)
            wire.close()
            if index is not None and len(self._done) < self._count:
                self._lost(index, "its connection closed: it was killed or crashed")
            return
        for message in messages:
            if index is not None:
                self._heard[index] = time.monotonic()
                self._handle(index, message)

    def _hello(self, wire: Wire, message: Message) -> None:
        index, who = message["index"], {"host": message["host"], "pid": message["pid"]}
        if message["count"] != self._count:
            text = f"{process_name(0, self._who.get(0))} was told of {self._count} processes"
            wire.send(kind="refused", text=f"{text}, this one of {message['count']}")
        elif index in self._members:
            text = f"there is a {process_name(index, self._who[index])} already"
            wire.send(kind="refused", text=text)
        else:
            self._members[index], self._index[wire] = wire, index
            self._who[index], self._heard[index] = who, time.monotonic()
            if len(self._members) == self._count:
                who_is = [self._who[i] for i in range(self._count)]
                # A port for JAX's coordination service, which opens it in a moment.
                self._all(kind="welcome", who=who_is, port=free_port())

    def _handle(self, index: int, message: Message) -> None:
        match message["kind"]:
            case "beat":
                self._beats[index] = (message["count"], message["what"])
            case "give":
                self._give(index, message["name"], message["value"])
            case "stop" if self._held is None:
                self._held = {}
                self._all(kind="hold")
            case "at" if self._held is not None:
                self._held[index] = message["step"]
                if len(self._held) == self._count:
                    # Nobody has gone on from a later step, so that all can still stop at this one.
                    self._all(kind="stop_at", step=max(self._held.values()) + 1)
            case "fail":
                self._end(f"{self._name(index)} failed: {message['text']}", but=index)
                self._members[index].send(kind="heard")
            case "stalled":
                self._beats[index] = (message["count"], message["what"])
                self._end(f"{message['text']}; {self._behind()}", stacks=True)
            case "done":
                self._done.add(index)
                if len(self._done) == self._count:
                    self._all(kind="done")

    def _give(self, index: int, name: str, value: Any) -> None:
        values = self._values.setdefault(name, {})
        self._asked.setdefault(name, time.monotonic())
        values[index] = value
        if len(values) == self._count:
            del self._values[name], self._asked[name]
            in_order = [values[i] for i in range(self._count)]
            self._all(kind="given", name=name, values=in_order)

    def _behind(self) -> str:
        """Says who is behind: every process makes the same beats in the same order."""
        beats = {i: self._beats.get(i, (0, "nothing yet")) for i in range(self._count)}
        least, most = min(b[0] for b in beats.values()), max(b[0] for b in beats.values())
        ahead = next(what for count, what in beats.values() if count == most)
        if least == most:
            return f"all processes stand at {ahead}, their stacks say where"
        behind = [i for i, b in beats.items() if b[0] == least]
        names = ", ".join(map(self._name, behind))
        return f"behind: {names} at {beats[behind[0]][1]}, the foremost at {ahead}"

    def _tick(self, now: float) -> None:
        if len(self._members) < self._count:
            if now - self._began > self._patience:
                absent = [i for i in range(self._count) if i not in self._members]
                names = ", ".join(f"process {i}" for i in absent)
                self._end(f"{names} of {self._count} did not come within {self._patience:g} s")
            return
        self._all(kind="beat")
        if len(self._done) == self._count:
            return
        for index, heard in self._heard.items():
            if now - heard > self._heartbeat:
                self._lost(index, f"silent for {self._heartbeat:g} s")
        for name, asked in self._asked.items():
            if now - asked > self._patience:
                absent = [i for i in range(self._count) if i not in self._values[name]]
                names = ", ".join(map(self._name, absent))
                text = f"{names}: no answer to {name!r} within {self._patience:g} s"
                self._end(f"{text} of the first")

    def _lost(self, index: int, how: str) -> None:
        self._end(f"lost {self._name(index)}: {how}", but=index)

    def _end(self, text: str, stacks: bool = False, but: int | None = None) -> None:
        """Tells all processes why the run ends; only the first reason counts."""
        if not self._ended:
            self._ended = True
            self._all(kind="news", text=text, stacks=stacks, but=but)

    def _all(self, but: int | None = None, **message: Any) -> None:
        for index, wire in self._members.items():
            if index != but:
                wire.send(**message)

    def _name(self, index: int) -> str:
        return process_name(index, self._who.get(index))
