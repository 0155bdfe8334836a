"""What a client asks of `/v1/completions`: the parameters of OpenAI's API, checked."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ..errors import InputError

MOST_TOKENS = 4096
"""Tokens of one text."""

MOST_TEXTS = 16
"""Texts of one request."""

MOST_CHARACTERS = 100_000
"""Characters, or tokens, of the prompts of a request."""


class ParameterError(InputError):
    """A parameter of a request is not what it may be."""

    def __init__(self, parameter: str, message: str):
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter


@dataclass(frozen=True)
class CompletionRequest:
    """A request; see OpenAI's reference of completions for the parameters.

    `top_k` is none of OpenAI's, but other servers have it; 0 for all tokens.
    """

    model: str
    prompts: tuple[str | tuple[int, ...], ...]
    most: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    n: int
    stops: tuple[str, ...]
    likeliest: int | None
    echo: bool
    stream: bool
    says_usage: bool

    @property
    def count(self) -> int:
        """How many texts are asked for."""
        return len(self.prompts) * self.n

    def parameters(self) -> dict[str, Any]:
        """Returns the parameters that decide the texts of given prompts: `read_completion` takes
        them.
        """
        return {
            "max_tokens": self.most,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "n": self.n,
            "seed": self.seed - 2**64 * (self.seed >= 2**63),
            "stop": list(self.stops),
        }


def read_completion(said: Any) -> CompletionRequest:
    """Reads the JSON of a request.

    Raises:
      ParameterError: when a parameter is unknown, or has a value that is not served here.
    """
    if not isinstance(said, dict):
        raise InputError("expected an object with 'model' and 'prompt'")
    for name, value in said.items():
        if name not in KNOWN:
            raise _unknown(name)
        if name in _ONLY and value is not None and value not in _ONLY[name]:
            raise ParameterError(name, f"{value!r:.60} is not served here; leave it out")
    if not isinstance(said.get("model"), str):
        raise ParameterError("model", "expected a name")
    seed = _number(said, "seed", None, int, -(2**63), 2**63 - 1)
    asked = CompletionRequest(
        model=said["model"],
        prompts=_read_prompts(said.get("prompt")),
        most=_number(said, "max_tokens", 16, int, 1, MOST_TOKENS),
        temperature=_number(said, "temperature", 1.0, float, 0, 2),
        top_p=_number(said, "top_p", 1.0, float, 0, 1),
        top_k=_number(said, "top_k", 0, int, 0, 2**31),
        seed=secrets.randbits(32) if seed is None else seed % 2**64,
        n=_number(said, "n", 1, int, 1, MOST_TEXTS),
        stops=_read_stops(said.get("stop")),
        likeliest=_number(said, "logprobs", None, int, 0, 5),
        echo=_flag(said, "echo"),
        stream=_flag(said, "stream"),
        says_usage=_read_usage(said),
    )
    if asked.count > MOST_TEXTS:
        raise ParameterError("n", f"{asked.count} texts; expected at most {MOST_TEXTS} a request")
    if asked.echo and asked.likeliest is not None:
        raise ParameterError("echo", "the prompt's log-probabilities are not served here")
    return asked


_ONLY: Mapping[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
}
"""Parameters of OpenAI's that have one value here: the one that changes nothing."""

KNOWN = {
    *("model", "prompt", "max_tokens", "temperature", "top_p", "top_k", "n", "seed", "stop"),
    *("logprobs", "echo", "stream", "stream_options", "user", *_ONLY),
}
"""The parameters that a request may have."""


def _unknown(name: str) -> ParameterError:
    near = get_close_matches(name, sorted(KNOWN), 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return ParameterError(f"{name:.60}", f"there is no such parameter{meant}")


def _number(
    said: Mapping[str, Any],
    name: str,
    default: Any,
    kind: Callable[[Any], Any],
    least: float,
    most: float,
) -> Any:
    """Returns a number of the request, as int or float; the default where it is absent or null."""
    value = said.get(name)
    if value is None:
        return default
    kinds = (int,) if kind is int else (int, float)
    if type(value) not in kinds or not least <= value <= most:
        whole = "a whole number" if kind is int else "a number"
        raise ParameterError(name, f"expected {whole} from {least} to {most}, got {value!r:.40}")
    return kind(value)


def _flag(said: Mapping[str, Any], name: str) -> bool:
    value = said.get(name)
    if not isinstance(value, bool | None):
        raise ParameterError(name, f"expected true or false, got {value!r:.40}")
    return bool(value)


def _read_usage(said: Mapping[str, Any]) -> bool:
    options = said.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict) or not options.keys() <= {"include_usage"}:
        raise ParameterError("stream_options", "expected an object with 'include_usage'")
    if not said.get("stream"):
        raise ParameterError("stream_options", "it needs 'stream'")
    return _flag(options, "include_usage")


def _read_stops(stop: Any) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else stop or []
    fits = isinstance(stops, list) and len(stops) <= 4
    if not fits or not all(isinstance(s, str) and 0 < len(s) <= 200 for s in stops):
        raise ParameterError("stop", "expected up to 4 texts of 1 to 200 characters")
    return tuple(stops)


def _read_prompts(prompt: Any) -> tuple[str | tuple[int, ...], ...]:
    """Reads a text, a list of texts, a list of tokens, or a list of such lists."""
    many = prompt if isinstance(prompt, list) and _is_list_of_prompts(prompt) else [prompt]
    if not all(isinstance(one, str) or _is_tokens(one) for one in many):
        raise ParameterError("prompt", "expected a text, a list of tokens, or a list of these")
    if sum(map(len, many)) > MOST_CHARACTERS:
        raise ParameterError("prompt", f"more than {MOST_CHARACTERS} characters or tokens")
    return tuple(one if isinstance(one, str) else tuple(one) for one in many)


def _is_list_of_prompts(prompt: list[Any]) -> bool:
    return bool(prompt) and all(isinstance(one, str | list) for one in prompt)


def _is_tokens(one: Any) -> bool:
    return isinstance(one, list) and all(type(token) is int for token in one)
