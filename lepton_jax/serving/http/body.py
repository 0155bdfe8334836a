"""Reads the body of a request: of a bounded size, in a bounded time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from .refusals import HttpRefusal
from .server import server_of


async def read_body(request: Request) -> bytes:
    """Reads the body of a request.

    Raises:
      HttpRefusal: when it is larger, or takes longer to come, than the settings allow.
    """
    settings = server_of(request).settings
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said[:20]) > settings.most_body:
        raise _too_large(settings.most_body)
    pieces, size = [], 0
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > settings.most_body:
                    raise _too_large(settings.most_body)
                pieces.append(piece)
    except TimeoutError:
        raise HttpRefusal(
            408, f"the body did not arrive within {settings.body_seconds:g} s", _CLOSE
        ) from None
    except ClientDisconnect:
        raise HttpRefusal(400, "the client left before its body had arrived") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_CLOSE = {"Connection": "close"}
"""What is left of a body that was not read would be taken for the next request."""


def _too_large(most: int) -> HttpRefusal:
    return HttpRefusal(413, f"the body has more than {most} bytes", _CLOSE)
