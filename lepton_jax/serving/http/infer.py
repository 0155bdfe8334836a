"""The route of the Open Inference Protocol that answers, and the way of every answer."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..batches.sizes import Arrays
from ..live.answer import answer_by
from ..live.served import ServedAnswer, ServedModel
from ..observed.logs import log_event
from .body import read_body
from .leaving import while_client_waits
from .protocol import HEADER_LENGTH, encode_infer, parse_infer
from .refusals import HttpRefusal
from .server import noted_of, read_request_id, server_of


async def infer(request: Request) -> Response:
    """Answers tensors with tensors."""
    server, path, noted = server_of(request), request.path_params, noted_of(request)
    name, version = path["model"], path.get("version", "")
    signature = server.models.main(name, version).bundle.signature
    body = await read_body(request)
    asked = parse_infer(body, request.headers.get(HEADER_LENGTH), signature)
    if asked.id and "x-request-id" not in request.headers:
        noted.request_id = read_request_id(asked.id)
    served, answered = await answer(
        request, name, asked.inputs, version=version, seconds=asked.timeout
    )
    try:
        content, headers = encode_infer(
            asked, answered.outputs, name, served.version, asked.id or noted.request_id,
            {"exact": answered.exact, "bundle": served.bundle.id},
        )  # fmt: skip
    except ValueError as e:
        raise HttpRefusal(500, str(e)) from None
    return Response(content, headers=headers)


async def answer(
    request: Request,
    name: str,
    inputs: Mapping[str, np.ndarray],
    *,
    version: str = "",
    seconds: float | None = None,
) -> tuple[ServedModel, ServedAnswer]:
    """Answers inputs [B, ...] by the version that is due, and shows that to the observers.

    Args:
      seconds: after so many the answer is of no use; by default the settings say.

    Raises:
      HttpRefusal, UnknownModel, InputError, QueueFull, TooLate, BundleError: `refusals.py` makes a
        response.
    """
    server, noted = server_of(request), noted_of(request)
    key = request.headers.get(server.settings.key_header) or noted.request_id
    deadline = time.monotonic() + min(seconds or server.settings.deadline, server.settings.deadline)
    with while_client_waits(request):
        served, answered = await answer_by(
            server.models, name, inputs, key=key, version=version, deadline=deadline
        )
    noted.version, noted.rows = served.version, len(next(iter(inputs.values())))
    show_answer(request, served, inputs, answered.outputs)
    return served, answered


def show_answer(
    request: Request,
    served: ServedModel,
    inputs: Arrays,
    outputs: Arrays,
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Shows an answer to the observers; arguments as `AnswerObserver.observe` takes them."""
    request_id = noted_of(request).request_id
    for observer in server_of(request).observers:
        try:
            observer.observe(served, request_id, inputs, outputs, parameters)
        except Exception as e:  # noqa: BLE001  whoever looks on does not take the answer away
            said = f"{type(e).__name__}: {e!s:.200}"
            log_event("an observer failed", observer=type(observer).__name__, why=said)


ROUTES = [
    Route("/v2/models/{model}/infer", infer, methods=["POST"]),
    Route("/v2/models/{model}/versions/{version}/infer", infer, methods=["POST"]),
]
