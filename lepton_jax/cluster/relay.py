"""Relays a process's connection to JAX's coordination service, and keeps it open when that dies.

JAX aborts a process (SIGABRT, from C++) at the moment when the connection to the coordinator
breaks: no Python runs any more, and nothing says what happened. Through the relay the connection
does not break. JAX would wait for its own heartbeat timeout, and `peers` ends the process long
before.
"""

import contextlib
import selectors
import socket
import threading
import time


class Relay:
    """Listens on a port of this host and connects whoever calls to `target`, (host, port)."""

    def __init__(self, target: tuple[str, int], patience: float):
        self._target, self._patience = target, patience
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._others: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="relay", daemon=True).start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._server:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._carry(key.fileobj)

    def _accept(self) -> None:
        inner, _ = self._server.accept()
        deadline = time.monotonic() + self._patience
        while True:  # JAX's service may start a moment later than we call it
            try:
                outer = socket.create_connection(self._target, timeout=self._patience)
                break
            except OSError:
                if time.monotonic() > deadline:
                    return  # and keep `inner` open: a closed one would abort the process
                time.sleep(0.05)
        for a, b in ((inner, outer), (outer, inner)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._others[a] = b
            self._selector.register(a, selectors.EVENT_READ)

    def _carry(self, source: socket.socket) -> None:
        other = self._others[source]
        data = b""
        with contextlib.suppress(OSError):
            data = source.recv(1 << 16)
            if data:
                other.sendall(data)
        if not data:
            self._selector.unregister(source)
