"""What the handlers of a server share, and what they note of a request."""

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import Request

from ..live.models import Models
from ..observed.feedback import Feedback
from ..observed.keeping import RequestKeeper
from ..observed.logs import log_event
from ..observed.metrics import ServerMetrics
from ..observed.observer import AnswerObserver
from ..observed.traces import open_traces
from .settings import HttpSettings

_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)


DECODED = 4
"""Images and texts that are decoded at a time: a large image takes much memory."""


@dataclass
class Server:
    """What the handlers of one server share."""

    models: Models
    metrics: ServerMetrics
    settings: HttpSettings = field(default_factory=HttpSettings)
    observers: list[AnswerObserver] = field(default_factory=list)
    keeper: RequestKeeper | None = None
    """Keeps a sample of the requests; None where none are kept."""
    stopping: bool = False
    """Whether the server answers what it has, and then ends."""

    def __post_init__(self) -> None:
        self.traces = open_traces()
        self.decoding = asyncio.Semaphore(DECODED)
        self.feedback = Feedback(self.metrics.registry)
        self.observers += [self.feedback, *([self.keeper] if self.keeper else [])]

    def restore_feedback(self) -> None:
        """Counts what clients told of kept requests before this process began."""
        if self.keeper is not None:
            try:
                self.feedback.restore(self.keeper.labelled())
            except OSError as e:  # what cannot be read keeps no model from answering
                log_event("earlier feedback is not counted", why=f"{type(e).__name__}: {e!s:.200}")


@dataclass
class Noted:
    """What is known of a request, for its log line and its numbers."""

    request_id: str
    model: str = ""
    version: str = ""
    rows: int = 0


def server_of(request: Request) -> Server:
    """Returns the server that a request came to."""
    return cast(Server, request.scope["lepton_server"])


def noted_of(request: Request) -> Noted:
    """Returns what is known of a request; a handler fills it."""
    return cast(Noted, request.scope["lepton_noted"])


def read_request_id(given: Any) -> str:
    """Returns the id that a client gave, where it may be one; else a new one."""
    if isinstance(given, str) and _REQUEST_ID.fullmatch(given):
        return given
    return secrets.token_hex(16)
