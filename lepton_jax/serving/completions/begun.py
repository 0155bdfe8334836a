"""The texts of a request: as they begin, and as arrays when they are written."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..loader import Bundle
from .asked import CompletionRequest
from .drawing import DrawingRule
from .pieces import TextPieces
from .writing import TokenNews, WrittenText


def begin_to_write(
    bundle: Bundle,
    asked: CompletionRequest,
    prompts: Sequence[Sequence[int]],
    tell: Callable[[int, TokenNews], None],
    deadline: float,
) -> list[WrittenText]:
    """Returns the texts of a request before their first token: `asked.n` of each prompt.

    Args:
      prompts: their tokens.
      tell: called with the index of a text and each piece of its news, in the thread that writes.
      deadline: of `time.monotonic()`; it is too late to begin after it.
    """

    def telling(index: int) -> Callable[[TokenNews], None]:
        return lambda news: tell(index, news)

    return [
        WrittenText(
            tokens=list(prompt),
            rule=DrawingRule(asked.temperature, asked.top_k, asked.top_p, asked.seed, choice),
            most=asked.most,
            end=(bundle.signature["text"] or {}).get("end"),
            pieces=TextPieces(bundle.text, prompt, asked.stops),
            tell=telling(i * asked.n + choice),
            likeliest=asked.likeliest,
            deadline=deadline,
        )
        for i, prompt in enumerate(prompts)
        for choice in range(asked.n)
    ]


def lay_out_tokens(texts: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Lays out texts as `tokens` int32 [B, T], of which the first `length` int32 [B] count."""
    tokens = np.zeros((len(texts), max(map(len, texts), default=0)), np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = text
    return {"tokens": tokens, "length": np.array([len(text) for text in texts], np.int32)}


def read_tokens(laid_out: Mapping[str, np.ndarray]) -> list[list[int]]:
    """Returns the texts that `lay_out_tokens` laid out.

    Raises:
      KeyError, ValueError: when it laid out no such thing.
    """
    tokens, length = laid_out["tokens"], laid_out["length"]
    if tokens.ndim != 2 or tokens.dtype != np.int32 or length.shape != tokens.shape[:1]:
        raise ValueError("these are no tokens of texts")
    return [row[:n].tolist() for row, n in zip(tokens, length, strict=True)]
