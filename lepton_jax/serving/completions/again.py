"""Writes the texts of a request that was kept again: its prompts, parameters and seed are known."""

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ..loader import Bundle
from .asked import MOST_TEXTS, read_completion
from .begun import begin_to_write, lay_out_tokens, read_tokens
from .writer import TextWriter
from .writing import TokenNews


async def write_again(
    bundle: Bundle,
    writer: TextWriter,
    prompts: Mapping[str, np.ndarray],
    parameters: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """Writes texts as they were written once.

    Args:
      prompts: one for each text, as `lay_out_tokens` lays them out.
      parameters: as `CompletionRequest.parameters` returns them.

    Returns:
      What was written, laid out in the same way.

    Raises:
      InputError, KeyError, ValueError: when they are no prompts or parameters.
      QueueFull, BundleError: when a text cannot be written.
    """
    asked = read_completion({"model": "", "prompt": [0], **parameters})
    rows = read_tokens(prompts)[:: asked.n]
    if not all(rows) or not 1 <= len(rows) * asked.n <= MOST_TEXTS:
        raise ValueError(f"expected 1 to {MOST_TEXTS} prompts, of one token or more each")
    asked = replace(asked, prompts=tuple(map(tuple, rows)))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    written: list[list[int]] = [[] for _ in range(asked.count)]
    going, errors = asked.count, []

    def take(index: int, news: TokenNews) -> None:
        nonlocal going
        if news.token is not None:
            written[index].append(news.token)
        if news.error is not None:
            errors.append(news.error)
        going -= news.finish is not None or news.error is not None
        if not going:
            ended.set()

    def tell(index: int, news: TokenNews) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(take, index, news)

    writer.write(*begin_to_write(bundle, asked, rows, tell, math.inf))
    await ended.wait()
    if errors:
        raise errors[0]
    return lay_out_tokens(written)
