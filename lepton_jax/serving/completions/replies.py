"""What a client of `/v1/completions` is told: whole, or chunk by chunk, in OpenAI's form."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .writing import TokenNews


@dataclass
class CompletionReply:
    """Turns the news of the texts of one request into JSON.

    `extras`: what each reply says beside OpenAI's fields. `decode`: tokens to text. `echoed`: what
    each text begins with, by its index.
    """

    id: str
    model: str
    decode: Callable[[Sequence[int]], str]
    prompt_tokens: int
    echoed: Sequence[str]
    extras: Mapping[str, Any]
    says_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    written: int = 0
    """Tokens that have been told."""

    def __post_init__(self) -> None:
        self._begun = [False] * len(self.echoed)
        self._lengths = [0] * len(self.echoed)

    def chunk(self, index: int, news: TokenNews) -> dict[str, Any] | None:
        """Returns the chunk of a piece of news; None where there is nothing to tell yet."""
        choice = self._choice(index, news)
        if not (choice["text"] or choice["logprobs"] or choice["finish_reason"]):
            return None
        return self._head([choice]) | ({"usage": None} if self.says_usage else {})

    def last_chunk(self) -> dict[str, Any] | None:
        """Returns the chunk after the last one, with the usage where that was asked for."""
        return self._head([]) | {"usage": self._usage()} if self.says_usage else None

    def whole(self, news: Sequence[tuple[int, TokenNews]]) -> dict[str, Any]:
        """Returns the reply that says all news at once."""
        choices: list[dict[str, Any]] = [
            {"text": "", "index": i, "logprobs": None, "finish_reason": None}
            for i in range(len(self.echoed))
        ]
        for index, one in news:
            told, choice = self._choice(index, one), choices[index]
            choice["text"] += told["text"]
            choice["finish_reason"] = told["finish_reason"]
            if told["logprobs"]:
                known = choice["logprobs"] or {name: [] for name in told["logprobs"]}
                choice["logprobs"] = {k: known[k] + told["logprobs"][k] for k in known}
        return self._head(choices) | {"usage": self._usage()}

    def _head(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
            **self.extras,
        }

    def _choice(self, index: int, news: TokenNews) -> dict[str, Any]:
        before = "" if self._begun[index] else self.echoed[index]
        self._begun[index] = True
        logprobs = self._logprobs(self._lengths[index] + len(before), news)
        self._lengths[index] += len(before) + len(news.text)
        self.written += news.token is not None
        return {
            "text": before + news.text,
            "index": index,
            "logprobs": logprobs,
            "finish_reason": news.finish,
        }

    def _logprobs(self, offset: int, news: TokenNews) -> dict[str, Any] | None:
        if news.token is None or news.nats is None:
            return None
        return {
            "tokens": [self.decode([news.token])],
            "token_logprobs": [news.nats],
            "top_logprobs": [{self.decode([token]): nats for token, nats in news.likeliest}],
            "text_offset": [offset],
        }

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.written,
            "total_tokens": self.prompt_tokens + self.written,
        }
