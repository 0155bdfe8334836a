"""A client that leaves: what nobody waits for any more is not computed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from .refusals import client_left

WATCHED_SECONDS = 0.05
"""After so long it is watched whether a client is still there: most answers come sooner, and cost
nothing more.
"""


@contextmanager
def while_client_waits(request: Request) -> Iterator[None]:
    """Ends what is awaited in the block when the client leaves. The body must have been read.

    Raises:
      HttpRefusal: when the client has left.
    """
    loop, handling = asyncio.get_running_loop(), asyncio.current_task()
    assert handling is not None
    watching: list[asyncio.Task[None]] = []
    left = False

    async def watch() -> None:
        nonlocal left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
        handling.cancel()

    timer = loop.call_later(WATCHED_SECONDS, lambda: watching.append(loop.create_task(watch())))
    try:
        yield
    except asyncio.CancelledError:
        if not left:
            raise
        handling.uncancel()
        raise client_left() from None
    finally:
        timer.cancel()
        for task in watching:
            task.cancel()
