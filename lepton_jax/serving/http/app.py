"""The server as an ASGI application: its routes, and what holds for all of them.

What other parts rely on:

- `build_app(server)` makes the application of a `Server` (`server.py`); a handler finds that by
  `server_of(request)`, and what is noted of its request by `noted_of(request)`.
- `server.models.find(name, key, version)` finds the `ServedModel` that answers; `await
  served.answer(inputs, deadline)` returns `ServedAnswer(outputs, exact)`. `answer` in `infer.py`
  does both, compares a canary, and shows the answer to the observers.
- `server.observers` is a list of `AnswerObserver`: each is shown every answer. Numbers of their own
  go into `server.metrics.registry`, for /metrics.
- A module with routes has a list `ROUTES` of Starlette's routes, which is added to `ROUTES` below.
  A handler raises `HttpRefusal`, `InputError` or the others of `refusals.py`, and makes no response
  of an error; it reads a body by `read_body`.
"""

import hmac
import re
import time
from collections.abc import Mapping

from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..drift import routes as drift
from ..observed.logs import log_event
from . import completions, feedback, health, infer, openapi, pages, plain
from .refusals import HttpRefusal, as_refusal, respond_refusal
from .server import Noted, Server, read_request_id

ROUTES = [
    *infer.ROUTES,  # the first that fits is taken, and this one is asked most
    *health.ROUTES,
    *plain.ROUTES,
    *completions.ROUTES,
    *feedback.ROUTES,
    *openapi.ROUTES,
    *pages.ROUTES,
    *drift.ROUTES,
]
"""Every route of the server."""

OPEN = re.compile(r"/v2/health/(live|ready)|/|/try/[^/]*|/assets/[^/]*")
"""Paths without a token: a cluster asks them; and pages, which know no model and ask for one."""


def build_app(server: Server) -> ASGIApp:
    """Builds the application of a server."""
    return _Watched(Router(ROUTES, redirect_slashes=False), server)


class _Watched:
    """Gives each request its id, asks for the token, makes refusals of errors, counts and logs."""

    def __init__(self, app: ASGIApp, server: Server):
        self._app = app
        self._server = server
        self._token = server.settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        start, server = time.perf_counter(), self._server
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        noted = Noted(read_request_id(given))
        scope.update({"app": self, "lepton_noted": noted, "lepton_server": server})
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [(b"x-request-id", noted.request_id.encode())]
                if server.stopping:
                    added.append((b"connection", b"close"))
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            self._check_token(scope["path"], headers.get(b"authorization", b""))
            await self._app(scope, receive, send_noted)
        except Exception as e:  # noqa: BLE001  every error is one JSON response
            refusal = as_refusal(e)
            if refusal.status == 500:
                said = f"{type(e).__name__}: {e!s:.300}"
                log_event("failed", request_id=noted.request_id, path=scope["path"], why=said)
            if not status:
                await respond_refusal(refusal, scope["path"])(scope, receive, send_noted)
        seconds = time.perf_counter() - start
        route = getattr(scope.get("endpoint"), "__name__", "")
        noted.model = noted.model or scope.get("path_params", {}).get("model", "")
        known = noted.model if noted.model in server.models.names else ""
        server.metrics.request(route, known, status, seconds)
        if server.traces is not None:
            self._trace(scope["method"], route, headers, noted, status, seconds)
        log_event(
            "request",
            request_id=noted.request_id,
            method=scope["method"],
            route=route,
            status=status,
            ms=round(seconds * 1000, 3),
            model=known,
            version=noted.version,
            rows=noted.rows,
        )

    def _trace(
        self,
        method: str,
        route: str,
        headers: Mapping[bytes, bytes],
        noted: Noted,
        status: int,
        seconds: float,
    ) -> None:
        assert self._server.traces is not None
        attributes = {
            "http.request.method": method,
            "http.response.status_code": status,
            "lepton.request_id": noted.request_id,
            "lepton.model": noted.model,
            "lepton.version": noted.version,
        }
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        self._server.traces.write(route, parent, seconds, status >= 500, attributes)

    def _check_token(self, path: str, given: bytes) -> None:
        if not self._token or OPEN.fullmatch(path):
            return
        scheme, _, token = given.partition(b" ")
        same = hmac.compare_digest(token.strip(), self._token)
        if scheme.lower() != b"bearer" or not same:
            said = (
                "the bearer token is not that of this server"
                if given
                else ("this server asks for a bearer token: Authorization: Bearer TOKEN")
            )
            raise HttpRefusal(401, said, {"WWW-Authenticate": "Bearer"})
