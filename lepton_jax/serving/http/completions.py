"""The routes that go on with a text, in the form that OpenAI's clients speak."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..completions.asked import CompletionRequest, ParameterError, read_completion
from ..completions.drawing import DrawingRule
from ..completions.pieces import TextPieces
from ..completions.replies import CompletionReply
from ..completions.writing import TokenNews, WrittenText
from ..errors import InputError
from ..live.served import ServedModel
from ..observed.logs import log_event
from .body import read_body
from .json_text import parse_request
from .refusals import as_refusal, describe_refusal
from .server import Server, noted_of, server_of

Heard = list[tuple[int, TokenNews]]
"""What has been told since the last time: the index of a text, and what is new of it."""

News = AsyncGenerator[Heard, None]


async def list_models(request: Request) -> Response:
    """Lists the models that go on with a text."""
    models = server_of(request).models
    found = [describe_writer(s) for name in models.names for s in models.versions(name)[:1]]
    return JSONResponse({"object": "list", "data": [said for said in found if said]})


async def tell_model(request: Request) -> Response:
    """Describes one model that goes on with a text."""
    return JSONResponse(describe_writer(_find_writer(request, request.path_params["model"])))


def describe_writer(served: ServedModel) -> dict[str, Any] | None:
    """Describes a model as OpenAI's API does; None of one that goes on with no text."""
    if served.writer is None:
        return None
    return {
        "id": served.name,
        "object": "model",
        "created": 0,
        "owned_by": "lepton_jax",
        "version": served.version,
        "bundle": served.bundle.id,
        "context": served.writer.slots.context,
        "slots": served.writer.slots.most,
        "cache_bytes": served.writer.slots.bytes_of_cache,
    }


def _find_writer(request: Request, name: str, key: str = "") -> ServedModel:
    served = server_of(request).models.find(name, key)
    if served.writer is None:
        raise ParameterError("model", f"{name!r:.80} does not go on with a text")
    return served


async def complete(request: Request) -> Response:
    """Goes on with one text or several, whole or as server-sent events."""
    server, noted = server_of(request), noted_of(request)
    deadline = time.monotonic() + server.settings.deadline
    asked = read_completion(parse_request(await read_body(request)))
    key = request.headers.get(server.settings.key_header) or noted.request_id
    served = _find_writer(request, asked.model, key)
    noted.model, noted.version, noted.rows = served.name, served.version, asked.count
    # To encode a long text takes milliseconds, in which others are answered.
    prompts = await run_in_threadpool(lambda: [read_prompt(served, p) for p in asked.prompts])
    reply = CompletionReply(
        id=f"cmpl-{noted.request_id}",
        model=asked.model,
        decode=served.bundle.text,
        prompt_tokens=sum(map(len, prompts)),
        echoed=[_echoed(served, asked, p) for p in asked.prompts for _ in range(asked.n)],
        extras={
            "system_fingerprint": served.bundle.id,
            "seed": asked.seed,
            "exact": True,
        },
        says_usage=asked.says_usage,
    )
    news = _counted(
        server, served.name, reply.prompt_tokens, _write(served, asked, prompts, deadline)
    )
    if asked.stream:
        # A text that fails before its first token is refused by a status.
        first = await anext(news)
        return StreamingResponse(_as_events(first, news, reply), media_type="text/event-stream")
    return JSONResponse(reply.whole(await _unless_left(request, news)))


def read_prompt(served: ServedModel, prompt: str | tuple[int, ...]) -> list[int]:
    """Returns the tokens of a prompt.

    Raises:
      ParameterError: when there are none, or one is none of the model's.
    """
    if isinstance(prompt, str):
        tokens = served.bundle.prompt(prompt)
    else:
        tokens = list(prompt)
        size = served.bundle.signature["outputs"]["probabilities"]["shape"][-1]
        if not all(0 <= token < size for token in tokens):
            raise ParameterError("prompt", f"a token is not in [0, {size - 1}]")
    if not tokens:
        raise ParameterError("prompt", "it has no token: this model goes on from one or more")
    return tokens


def _echoed(served: ServedModel, asked: CompletionRequest, prompt: str | tuple[int, ...]) -> str:
    if not asked.echo:
        return ""
    return prompt if isinstance(prompt, str) else served.bundle.text(prompt)


async def _write(
    served: ServedModel, asked: CompletionRequest, prompts: list[list[int]], deadline: float
) -> News:
    """Yields what is new of the texts, until all have ended.

    The texts are written no further once nobody asks for more.

    Raises:
      QueueFull, TooLate, BundleError: when a text cannot be written.
    """
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[int, TokenNews]]()

    def telling(index: int) -> Callable[[TokenNews], None]:
        def tell(news: TokenNews) -> None:
            with suppress(RuntimeError):  # the loop has ended with the server
                loop.call_soon_threadsafe(queue.put_nowait, (index, news))

        return tell

    assert served.writer is not None
    texts = [
        WrittenText(
            tokens=list(prompt),
            rule=DrawingRule(asked.temperature, asked.top_k, asked.top_p, asked.seed, choice),
            most=asked.most,
            end=(served.bundle.signature["text"] or {}).get("end"),
            pieces=TextPieces(served.bundle.text, prompt, asked.stops),
            tell=telling(i * asked.n + choice),
            likeliest=asked.likeliest,
            deadline=deadline,
        )
        for i, prompt in enumerate(prompts)
        for choice in range(asked.n)
    ]
    served.writer.write(*texts)
    going = len(texts)
    try:
        while going:
            heard = [await queue.get()]
            while not queue.empty():
                heard.append(queue.get_nowait())
            for error in (news.error for _, news in heard if news.error is not None):
                raise error
            going -= sum(news.finish is not None for _, news in heard)
            yield heard
    finally:
        for text in texts:
            text.done = True


async def _counted(server: Server, model: str, prompt_tokens: int, news: News) -> News:
    """Yields the news, and counts their tokens."""
    start, begun = time.perf_counter(), False
    try:
        async for heard in news:
            if not begun:
                server.metrics.began(model, prompt_tokens, time.perf_counter() - start)
                begun = True
            server.metrics.wrote(model, sum(one.token is not None for _, one in heard))
            yield heard
    finally:
        await news.aclose()


async def _as_events(first: Heard, news: News, reply: CompletionReply) -> AsyncIterator[str]:
    """Yields the news as server-sent events, and '[DONE]' at the end."""

    def events(heard: Heard) -> str:
        chunks = (reply.chunk(index, one) for index, one in heard)
        return "".join(_event(chunk) for chunk in chunks if chunk)

    try:
        yield events(first)
        async for heard in news:
            yield events(heard)
    except Exception as e:  # noqa: BLE001  the status is sent already
        log_event("failed", request_id=reply.id.removeprefix("cmpl-"), why=f"{e!s:.300}")
        yield _event(describe_refusal(as_refusal(e)))
        return
    finally:
        await news.aclose()
    if last := reply.last_chunk():
        yield _event(last)
    yield "data: [DONE]\n\n"


def _event(said: dict[str, Any]) -> str:
    return f"data: {json.dumps(said)}\n\n"


async def _unless_left(request: Request, news: News) -> Heard:
    """Returns all news, unless the client leaves before: nothing is written for it any more.

    Raises:
      InputError: when the client has left.
    """

    async def collect() -> Heard:
        return [one async for heard in news for one in heard]

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    collecting, leaving = asyncio.create_task(collect()), asyncio.create_task(leave())
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            raise InputError("the client left before its text was written")
        return collecting.result()
    finally:
        collecting.cancel()
        leaving.cancel()


ROUTES = [
    Route("/v1/models", list_models),
    Route("/v1/models/{model}", tell_model),
    Route("/v1/completions", complete, methods=["POST"]),
]
