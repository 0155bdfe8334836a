"""Messages between processes: one JSON object a line, over TCP."""

import json
import socket
import threading
from typing import Any

Message = dict[str, Any]

SEND_TIMEOUT = 5.0
"""Seconds after which a receiver that reads nothing counts as gone."""


class Wire:
    """One end of a connection. `send` may be called from any thread, `receive` from one."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(SEND_TIMEOUT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._lock = threading.Lock()
        self._partial = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, **message: Any) -> bool:
        """Sends a message. Returns False when the other end is gone; `receive` tells it too."""
        data = json.dumps(message).encode() + b"\n"
        try:
            with self._lock:
                self.socket.sendall(data)
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Returns the messages that have come; None when the other end is gone.

        Call it when the connection is readable.

        Raises:
          ValueError: when something else than a message has come.
        """
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        messages = [json.loads(line) for line in lines]
        if not all(isinstance(m, dict) for m in messages):
            raise ValueError("expected JSON objects")
        return messages

    def close(self) -> None:
        self.socket.close()


def listen(port: int) -> socket.socket:
    """Opens a server on every address of this host. Raises OSError, e.g. for a port in use."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def free_port() -> int:
    """Returns a port of this host that nobody listens on."""
    with listen(0) as server:
        return int(server.getsockname()[1])


def split_address(address: str) -> tuple[str, int]:
    """Splits `host:port` or `[ipv6]:port`. Raises ValueError for anything else."""
    host, _, port = address.rpartition(":")
    if not host or not 0 < int(port) < 65536:
        raise ValueError(address)
    return host.strip("[]"), int(port)
