"""One text in the making: what is drawn, when it ends, and what is told of it on the way."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import BundleError
from .drawing import DrawingRule, draw_token, token_nats
from .pieces import TextPieces

# V vocabulary.


@dataclass(frozen=True)
class TokenNews:
    """A token as it was drawn.

    `token`: None where the news is only of the end. `text`: what may be shown by now, which may
    lag behind the tokens. `nats`: the log-probability of the token, and of the most probable
    tokens, where they were asked for. `finish`: why the text ended, 'stop' or 'length'; None while
    it goes on. `error`: what went wrong, in which case the text has ended.
    """

    token: int | None = None
    text: str = ""
    nats: float | None = None
    likeliest: Sequence[tuple[int, float]] = ()
    finish: str | None = None
    error: Exception | None = None


@dataclass
class WrittenText:
    """A text that a model goes on with; `Slots` writes it.

    `most`: tokens that are written at most. `end`: the token that ends a text, if one does.
    `likeliest`: how many of the most probable tokens are told with each one; None for no
    log-probabilities. `deadline`: of `time.monotonic()`; it is too late to begin after it. `tell`
    is called with each piece of news, in the thread that writes.
    """

    tokens: list[int]
    rule: DrawingRule
    most: int
    end: int | None
    pieces: TextPieces
    tell: Callable[[TokenNews], None]
    likeliest: int | None = None
    deadline: float = math.inf
    done: bool = False
    written: int = field(default=0, init=False)

    def take(self, logits_V: np.ndarray) -> None:
        """Takes the logits float32 [V] of the next token: appends one to `tokens`, or is done."""
        if not np.isfinite(logits_V.max()):  # the argmax would be token 0
            self.fail(BundleError("the model answers with NaN or infinity, which is no token"))
            return
        token = draw_token(logits_V, self.rule, self.written)
        if token == self.end:
            self._finish(TokenNews(text=self.pieces.finish(), finish="stop"))
            return
        self.tokens.append(token)
        self.written += 1
        text, finish = self.pieces.add(token), None
        if self.pieces.stopped:
            finish = "stop"
        elif self.written >= self.most:
            text, finish = text + self.pieces.finish(), "length"
            finish = "stop" if self.pieces.stopped else finish
        nats, likeliest = self._nats(logits_V, token)
        news = TokenNews(token, text, nats, likeliest, finish)
        if finish is None:
            self.tell(news)
        else:
            self._finish(news)

    def fail(self, error: Exception) -> None:
        """Ends the text by an error."""
        self._finish(TokenNews(error=error))

    def _finish(self, news: TokenNews) -> None:
        self.done = True
        self.tell(news)

    def _nats(
        self, logits_V: np.ndarray, token: int
    ) -> tuple[float | None, list[tuple[int, float]]]:
        if self.likeliest is None:
            return None, []
        nats_V = token_nats(logits_V)
        best = np.argsort(-nats_V, kind="stable")[: self.likeliest].tolist()
        return float(nats_V[token]), [(i, float(nats_V[i])) for i in best]
