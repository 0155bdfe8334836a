"""The process of a server: it loads, says that it is ready, and ends when it is told to."""

import asyncio
import ctypes
import errno
import logging
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from ..live.aside import run_aside
from ..observed.logs import log_event
from .app import build_app
from .connection import EventHandler, GuardedConnection
from .server import Server

LINGER_SECONDS = 1.0
"""How long after SIGTERM requests are still taken: each is answered, and its connection closed."""

SETTLE_SECONDS = 0.3
"""How long a connection may take that was made in the last moment, to say what it asks."""

_SO_ATTACH_FILTER = 26
"""Of Linux' socket.h, which Python does not name."""

END_SECONDS = 30
"""How long what was begun may take after that."""


def listen_on(host: str, port: int) -> socket.socket:
    """Begins to listen, so that who comes while the models load waits for them.

    Raises:
      OSError: when the port is taken, or there is no such host.
      OverflowError: when it is no port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=1024)


def describe_not_listening(host: str, port: int, error: Exception) -> str:
    """Says why `listen_on` could not listen."""
    said = getattr(error, "strerror", None) or str(error)
    taken = getattr(error, "errno", None) == errno.EADDRINUSE
    return (
        f"cannot listen on {host}, port {port}: {said.partition(' (while attempting')[0]}"
        + "; --port=0 takes a free one" * taken
    )


def run_server(
    server: Server,
    listening: socket.socket,
    ready: Callable[[str], None] = lambda address: None,
    follow_seconds: float = 5.0,
) -> None:
    """Loads the models, answers requests, and returns after SIGTERM or SIGINT.

    Args:
      listening: as `listen_on` returns it; closed at the end.
      ready: told the address, once every model answers.
      follow_seconds: how often a registry is asked whether a name stands for another version.

    Raises:
      Exception: what the source of a model raises.
    """
    host, port = listening.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def serve() -> None:
        await asyncio.gather(server.models.load(), run_aside(server.restore_feedback))
        server.metrics.watch(server.models)
        server.models.follow(follow_seconds)
        config = uvicorn.Config(
            build_app(server),
            http=GuardedConnection,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=END_SECONDS,
        )
        logging.getLogger("uvicorn").addHandler(EventHandler(logging.WARNING))
        logging.getLogger("uvicorn").propagate = False
        log_event("ready", address=address)
        ready(address)
        await _Process(config, server).serve([listening])
        await server.models.close()
        if server.keeper is not None:
            server.keeper.close()
        if server.traces is not None:
            server.traces.close()
        log_event("ended")

    with listening, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())


class _Process(uvicorn.Server):
    """A server that ends gracefully: connections are closed after an answer, then at once."""

    def __init__(self, config: uvicorn.Config, server: Server):
        super().__init__(config)
        self._server = server

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._server.stopping = True
        log_event("ending")
        if not self.force_exit:
            await asyncio.sleep(LINGER_SECONDS)
            for listening in sockets or ():
                _take_no_more(listening)
            await asyncio.sleep(SETTLE_SECONDS)
        await super().shutdown(sockets)


def _take_no_more(listening: socket.socket) -> None:
    """Lets no further connection begin, where the system can do that: Linux.

    To close the socket at once would reset connections that the kernel has made and that nobody has
    accepted yet, with what they ask. Behind a filter that drops every packet a client's attempt
    stays without an answer, until it tries again and is refused.
    """
    if sys.platform != "linux":
        return
    return_nothing = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))  # BPF_RET
    program = struct.pack("@HP", 1, ctypes.addressof(return_nothing))
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
