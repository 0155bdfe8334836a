"""What a server refuses, as one JSON error: `{"error": "..."}` and a status."""

import json
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response

from ..batches.batcher import QueueFull, TooLate
from ..errors import BundleError, InputError
from ..live.models import UnknownModel


class HttpRefusal(Exception):
    """A request that is not answered."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


REFUSED = (HTTPException, HttpRefusal, InputError, UnknownModel, QueueFull, TooLate, BundleError)
"""What `as_refusal` makes a refusal of, beside any other error, which is a fault of ours."""

RETRY_SECONDS = 1
"""When a client may ask again where too much was asked."""


def as_refusal(error: BaseException) -> HttpRefusal:
    """Returns what a client is told of an error."""
    match error:
        case HttpRefusal():
            return error
        case HTTPException():
            said = {404: "there is no such route", 405: "this route takes another method"}
            headers = dict(error.headers or {})
            return HttpRefusal(
                error.status_code, said.get(error.status_code, error.detail), headers
            )
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


def respond_refusal(refusal: HttpRefusal) -> Response:
    """Returns the response of a refusal."""
    body = json.dumps({"error": str(refusal)}).encode()
    return Response(body, refusal.status, refusal.headers, "application/json")
