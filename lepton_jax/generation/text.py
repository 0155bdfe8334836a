"""Autoregressive sampling: a prompt, then one token after another, shown as text."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lepton_jax.config.schema import is_off
from lepton_jax.console import say
from lepton_jax.data.text.tokenizer import check_text
from lepton_jax.errors import WorkError
from lepton_jax.serving.completions.slots import first_read

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a text ends with while the bytes of its last character are not all there."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn from a model's logits."""

    tokens: int = 200
    """How many are drawn at most; fewer where the text ends before."""
    temperature: float = 0.8
    """0: the argmax, always."""
    top_k: int = 0
    """Draws from the k tokens of the highest logits; 0: from all."""
    top_p: float = 1.0
    """Draws from the fewest tokens whose probabilities add up to so much."""
    seed: int = 0


class TokenReader(Protocol):
    """A language model with its tokenizer.

    `source`: where it comes from, in words. `context`: the most tokens that it looks back on; None
    for as many as there are. `end`: the token that ends a text, if one does. `unknown`: the token
    of what the vocabulary lacks, if there is one.
    """

    @property
    def source(self) -> str: ...
    @property
    def context(self) -> int | None: ...
    @property
    def end(self) -> int | None: ...
    @property
    def unknown(self) -> int | None: ...
    def prompt(self, text: str, /) -> list[int]:
        """Returns the tokens of a text that goes on."""
        ...

    def text(self, tokens: Sequence[int], /) -> str: ...
    def logits(self, tokens: Sequence[int], /) -> np.ndarray:
        """Returns the logits of the token after these: float32 [V]."""
        ...

    def running(self) -> AbstractContextManager[None]:
        """Sets up the runtime that `logits` needs, while it is entered."""
        ...


def stream_text(
    reader: TokenReader, prompt: str, sampling: Sampling, tokens: list[int]
) -> Iterator[str]:
    """Yields the prompt, then pieces of text as they are drawn; together they are the whole text.

    Args:
      tokens: becomes the tokens of the prompt and of all that has been drawn so far.
    """
    with reader.running():
        check_text(prompt)
        tokens[:] = reader.prompt(prompt)
        unknown = tokens.count(reader.unknown) if reader.unknown is not None else 0
        if unknown:
            say(f"prompt: the vocabulary lacks {unknown:,} of its {len(tokens):,} tokens")
        shown = ""
        yield prompt
        prompt_text = reader.text(tokens)
        draw = _token_drawer(sampling)
        for i in range(sampling.tokens):
            first = first_read(len(tokens), reader.context)
            token = draw(reader.logits(tokens[first:]), i)
            if token == reader.end:
                break
            tokens.append(token)
            text = reader.text(tokens).removeprefix(prompt_text)
            is_last = i == sampling.tokens - 1
            if text.startswith(shown) and (is_last or not text.endswith(UNFINISHED)):
                yield text[len(shown) :]
                shown = text


def _token_drawer(sampling: Sampling) -> Callable[[np.ndarray, int], int]:
    """Returns a function that draws the i-th token by logits [V], each with its own random key."""
    import jax

    from lepton_jax.nn.beam_search import filter_logits

    def check(logits_V: np.ndarray) -> np.ndarray:
        if np.isnan(logits_V).any():  # the argmax would be token 0
            raise WorkError("the model answers with NaN, which is no token: it has diverged")
        return logits_V

    @jax.jit
    def draw(logits_V: Any, i: Any) -> Any:
        kept_1V = filter_logits(
            logits_V[None],
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
        )
        key = jax.random.fold_in(jax.random.key(sampling.seed, impl="threefry2x32"), i)
        return jax.random.categorical(key, kept_1V[0])

    if is_off(sampling.temperature):
        return lambda logits_V, i: int(check(logits_V).argmax())
    return lambda logits_V, i: int(draw(check(logits_V), i))
