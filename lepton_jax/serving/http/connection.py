"""A connection that a client cannot hold for nothing: its headers are short and come soon."""

import asyncio
import json
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..observed.logs import log_event

MOST_CONNECTIONS = 2048
"""Connections at a time; the next one is closed at once."""

HEADER_SECONDS = 10.0
"""How long the headers of a request may take to arrive, from the connection or the first byte."""

HEADER_BYTES = 64 << 10

UNREAD_SECONDS = 30.0
"""How long a client may leave a part of its answer unread."""


class GuardedConnection(HttpToolsProtocol):
    """uvicorn's connection, with limits where it has none."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._in_headers, self._just_begun = True, False
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(503, "too many connections: ask again")
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._header_timer, self._unread_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._just_begun = False
        super().data_received(data)
        if self._in_headers and not self._just_begun:  # else what came before them is in `data` too
            self._header_bytes += len(data)
            if self._header_bytes > HEADER_BYTES and not self.transport.is_closing():
                self._refuse(431, f"the headers have more than {HEADER_BYTES} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes, self._in_headers, self._just_begun = 0, True, True
        if self._header_timer is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "this is no HTTP request")

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self._refuse(408, f"the headers did not arrive within {HEADER_SECONDS:g} s")

    def _refuse(self, status: int, message: str) -> None:
        """Answers where no request has been read, and closes the connection."""
        body = json.dumps({"error": message}).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(
            STATUS_LINE[status] + head.encode() + b"connection: close\r\n\r\n" + body
        )
        self.transport.close()


class EventHandler(logging.Handler):
    """Writes what a library logs as an event of the server's own log."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        why = {"why": f"{type(error).__name__}: {error!s:.300}"} if error else {}
        log_event("logged", by=record.name, said=record.getMessage()[:500].strip(), **why)
