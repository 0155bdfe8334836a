"""The routes that go on with a text, in the form that OpenAI's clients speak."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..completions.asked import CompletionRequest, ParameterError, read_completion
from ..completions.begun import begin_to_write, lay_out_tokens
from ..completions.replies import CompletionReply
from ..completions.writing import TokenNews
from ..live.served import ServedModel
from ..observed.logs import log_event
from .body import read_body
from .infer import show_answer
from .json_text import parse_request
from .leaving import while_client_waits
from .refusals import as_refusal, describe_refusal
from .server import noted_of, server_of

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
            "request_id": noted.request_id,
        },
        says_usage=asked.says_usage,
    )
    news = _seen(request, served, asked, prompts, _write(served, asked, prompts, deadline))
    with while_client_waits(request):
        if not asked.stream:
            return JSONResponse(reply.whole([one async for heard in news for one in heard]))
        # A text that fails before its first token is refused by a status.
        first = await anext(news)
    return StreamingResponse(_as_events(first, news, reply), media_type="text/event-stream")


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

    def tell(index: int, news: TokenNews) -> None:
        with suppress(RuntimeError):  # the loop has ended with the server
            loop.call_soon_threadsafe(queue.put_nowait, (index, news))

    assert served.writer is not None
    texts = begin_to_write(served.bundle, asked, prompts, tell, deadline)
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


async def _seen(
    request: Request,
    served: ServedModel,
    asked: CompletionRequest,
    prompts: list[list[int]],
    news: News,
) -> News:
    """Yields the news, counts their tokens, and shows the texts to the observers when all are
    written.
    """
    metrics, start = server_of(request).metrics, time.perf_counter()
    written: list[list[int]] = [[] for _ in range(asked.count)]
    begun, going = False, asked.count
    try:
        async for heard in news:
            if not begun:
                tokens = sum(map(len, prompts))
                metrics.began(served.name, tokens, time.perf_counter() - start)
                begun = True
            for index, one in heard:
                written[index] += [] if one.token is None else [one.token]
                going -= one.finish is not None
            metrics.wrote(served.name, sum(one.token is not None for _, one in heard))
            if not going:  # before a client hears of it, who may tell what it thinks of it
                inputs = lay_out_tokens([p for p in prompts for _ in range(asked.n)])
                outputs = lay_out_tokens(written)
                show_answer(request, served, inputs, outputs, asked.parameters())
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


ROUTES = [
    Route("/v1/models", list_models),
    Route("/v1/models/{model}", tell_model),
    Route("/v1/completions", complete, methods=["POST"]),
]
