"""What a server refuses, as one JSON error and a status: `{"error": "..."}`, or OpenAI's form."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..batches.batcher import QueueFull, TooLate
from ..completions.asked import ParameterError
from ..errors import BundleError, InputError
from ..live.models import UnknownModel


class HttpRefusal(Exception):
    """A request that is not answered. `parameter` is what was wrong, where that has a name."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        parameter: str | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.parameter = parameter


REFUSED = (HTTPException, HttpRefusal, InputError, UnknownModel, QueueFull, TooLate, BundleError)
"""What `as_refusal` makes a refusal of, beside any other error, which is a fault of ours."""

RETRY_SECONDS = 1
"""When a client may ask again where too much was asked."""

LEFT = 499
"""The status of a request whose client left before it was answered: for numbers and logs alone."""


def client_left() -> HttpRefusal:
    """Returns what becomes of a request whose client has left."""
    return HttpRefusal(LEFT, "the client left before it was answered")


def as_refusal(error: BaseException) -> HttpRefusal:
    """Returns what a client is told of an error."""
    match error:
        case HttpRefusal():
            return error
        case HTTPException():
            headers = dict(error.headers or {})
            allowed = sorted({*headers.get("Allow", "").split(", ")} - {"", "HEAD"})
            said = {
                404: "there is no such route; GET /openapi.json lists them",
                405: f"this route takes {' and '.join(allowed) or 'another method'}",
            }
            return HttpRefusal(
                error.status_code, said.get(error.status_code, error.detail), headers
            )
        case ParameterError():
            return HttpRefusal(400, str(error), parameter=error.parameter)
        case InputError():
            return HttpRefusal(400, str(error))
        case UnknownModel():
            return HttpRefusal(404, str(error))
        case QueueFull():
            return HttpRefusal(
                503, "too many requests wait: ask again", {"Retry-After": str(RETRY_SECONDS)}
            )
        case TooLate():
            return HttpRefusal(504, "the deadline passed before the answer was computed")
        case BundleError():
            return HttpRefusal(500, f"the model cannot answer: {error}")
    return HttpRefusal(500, "the server failed; its log says how, by the request id")


def respond_refusal(refusal: HttpRefusal, path: str) -> Response:
    """Returns the response of a refusal; below /v1/ OpenAI's clients read it."""
    openai = path.startswith("/v1/")
    said = describe_refusal(refusal) if openai else {"error": str(refusal)}
    body = json.dumps(said).encode()
    return Response(body, refusal.status, refusal.headers, "application/json")


def describe_refusal(refusal: HttpRefusal) -> dict[str, Any]:
    """Returns a refusal in the form of OpenAI's API."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    if refusal.status == 401:
        kind = "authentication_error"
    said = {"message": str(refusal), "type": kind, "param": refusal.parameter, "code": None}
    return {"error": said}
