"""Reads the body of a request: of a bounded size, in a bounded time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from .refusals import HttpRefusal, client_left
from .server import server_of

THROWN_SECONDS = 2.0
"""How long a body that is too large is read on: a client that still sends hears no answer."""

_CLOSE = {"Connection": "close"}
"""What is left of a body that was not read would be taken for the next request."""


async def read_body(request: Request) -> bytes:
    """Reads the body of a request.

    Raises:
      HttpRefusal: when it is larger, or takes longer to come, than the settings allow.
    """
    settings = server_of(request).settings
    most, seconds = settings.most_body, settings.body_seconds
    said = request.headers.get("content-length", "")
    size, pieces = int(said[:20]) if said.isdigit() else 0, []
    refusal = HttpRefusal(413, f"the body has more than {most} bytes", _CLOSE)
    if size > most and "expect" in request.headers:
        raise refusal  # it is not sent before somebody reads
    kept, slow = 0, size <= most
    try:
        async with asyncio.timeout(seconds if slow else THROWN_SECONDS) as limit:
            async for piece in request.stream():
                kept += len(piece)
                if kept <= most:
                    pieces.append(piece)
                elif slow:
                    slow = False
                    pieces.clear()
                    limit.reschedule(asyncio.get_running_loop().time() + THROWN_SECONDS)
    except TimeoutError:
        if slow:
            said = f"the body did not arrive within {seconds:g} s"
            raise HttpRefusal(408, said, _CLOSE) from None
    except ClientDisconnect:
        raise client_left() from None
    if not slow:
        raise refusal
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
