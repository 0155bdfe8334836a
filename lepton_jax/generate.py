"""Text from a language model, a piece at a time: of a run, or of a bundle.

A run reads each token once, by its model's cache. A bundle has one program, which answers to a
whole prefix, and reads it again for every token.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lepton_jax.config.schema import is_off
from lepton_jax.errors import UserError, WorkError

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a text ends with while the bytes of its last character are not all there."""


class Reader(Protocol):
    """A language model and what makes tokens of texts.

    `context`: the most tokens that it looks back on; None for as many as there are. `end`: the
    token that ends a text, if one does.
    """

    @property
    def source(self) -> str: ...
    @property
    def context(self) -> int | None: ...
    @property
    def end(self) -> int | None: ...
    def prompt(self, text: str, /) -> list[int]: ...
    def text(self, tokens: Sequence[int], /) -> str: ...
    def logits(self, tokens: Sequence[int], /) -> np.ndarray:
        """Of the token after these, float32 [V]."""
        ...

    def running(self) -> AbstractContextManager[None]: ...


@dataclass
class Generated:
    """A prompt and what a model makes of it; `stream` or `text` makes it."""

    reader: Reader
    prompt: str
    count: int
    temperature: float
    top_k: int
    top_p: float
    seed: int
    tokens: list[int] = field(default_factory=list)
    """Of the prompt and of all that has been made so far."""
    made: int = 0
    """How many tokens have been made, once all have."""

    @property
    def text(self) -> str:
        return "".join(self.stream())

    def stream(self) -> Iterator[str]:
        """The prompt, then pieces of text as they are made."""
        with self.reader.running():
            self.tokens = self.reader.prompt(self.prompt)
            prompted, shown = len(self.tokens), ""
            yield self.prompt
            before = self.reader.text(self.tokens)
            draw = _sampler(self.temperature, self.top_k, self.top_p, self.seed)
            for i in range(self.count):
                first = _first(len(self.tokens), self.reader.context)
                chosen = draw(self.reader.logits(self.tokens[first:]), i)
                if chosen == self.reader.end:
                    break
                self.tokens.append(chosen)
                text = self.reader.text(self.tokens).removeprefix(before)
                last = i == self.count - 1
                if text.startswith(shown) and (last or not text.endswith(UNFINISHED)):
                    yield text[len(shown) :]
                    shown = text
        self.made = len(self.tokens) - prompted

    def as_json(self) -> dict[str, Any]:
        text = self.text
        keys = ("prompt", "temperature", "top_k", "top_p", "seed", "tokens")
        return {"text": text, "source": self.reader.source} | {k: getattr(self, k) for k in keys}

    def __str__(self) -> str:
        return f"\n{self.made} tokens by {self.reader.source}"


def generate(
    *,
    workdir: str | None = None,
    bundle: str | None = None,
    model: str | None = None,
    prompt: str = "\n",
    tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    checkpoint: str = "best",
) -> Generated:
    """Gets ready to go on from `prompt`; nothing is made before it is asked for.

    Args:
      workdir: a run of language modelling, at one of its checkpoints; or
      bundle: the folder of a bundle made of one; or
      model: 'NAME@ALIAS', 'NAME/VERSION' or 'NAME' in the registry.
      temperature, top_k, top_p: as in `decoding.filtered`.

    Raises:
      UserError: when there is no such model, it is none of texts, or a number is out of range.
      WorkError: when the bundle is damaged or cannot be run.
    """
    if sum(x is not None for x in (workdir, bundle, model)) != 1:
        raise UserError(
            "generate with what? give one of --workdir=DIR, --bundle=DIR or --model=NAME@staging"
        )
    for name, value, good in (
        ("tokens", tokens, tokens >= 1),
        ("temperature", temperature, temperature >= 0),
        ("top_k", top_k, top_k >= 0),
        ("top_p", top_p, 0 < top_p <= 1),
    ):
        if not good:
            wanted = {"tokens": ">= 1", "top_p": "in (0, 1]"}.get(name, ">= 0")
            raise UserError(f"--{name}={value}: expected a number {wanted}")
    reader = Run(workdir, checkpoint) if workdir else Bundle(bundle, model)
    return Generated(reader, prompt, tokens, temperature, top_k, top_p, seed)


class Run:
    """A run of language modelling."""

    def __init__(self, workdir: str, checkpoint: str):
        from lepton_jax.training import saved

        config = saved.read_config(workdir)
        if config.task.name != "language_modelling":
            raise UserError(
                f"--workdir={workdir}: {config.task.name} makes no texts; expected a run of "
                "language_modelling"
            )
        self._precision = config.precision
        with self.running():
            trained = saved.load_run(workdir, checkpoint)
            self.source = f"{workdir}, step {trained.step}"
            self._spec = trained.data.spec
            known = self._spec.vocabulary
            assert known is not None
            self.end = known.end
            program = trained.program
            self._variables = program.variables(trained.state)
            model = program.functional.merge(*self._variables)
        if not hasattr(model, "read"):
            raise UserError(
                f"--workdir={workdir}: model {config.model.name} cannot read a token at a time: it "
                "has no cache(batch, length) and read(tokens, cache)"
            )
        self.context = getattr(model, "context", None)
        self._read: list[int] = []
        self._cache: Any = None
        self._fresh, self._more = _reads(program, self.context)

    def running(self) -> AbstractContextManager[None]:
        from lepton_jax.training.runtime import runtime

        return runtime(self._precision)

    def prompt(self, text: str) -> list[int]:
        return self._spec.prompt(text)

    def text(self, tokens: Sequence[int]) -> str:
        return self._spec.text(tokens)

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        known = len(self._read)
        goes_on = 0 < known < len(tokens) and list(tokens[:known]) == self._read
        new_1T = np.asarray([tokens[known:] if goes_on else tokens], np.int32)
        if goes_on:
            logits_V, self._cache = self._more(*self._variables, new_1T, self._cache)
        else:
            logits_V, self._cache = self._fresh(*self._variables, new_1T)
        self._read = list(tokens)
        return np.asarray(logits_V)


def _reads(program: Any, context: int | None) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compiled functions that begin to read, and that go on with it."""
    import jax
    import jax.numpy as jnp

    def fresh(params: Any, rest: Any, tokens_1T: Any) -> Any:
        model = program.module(params, rest)
        room = tokens_1T.shape[1] if context is None else context
        return last(*model.read(tokens_1T, model.cache(1, room)))

    def more(params: Any, rest: Any, tokens_1T: Any, cache: Any) -> Any:
        return last(*program.module(params, rest).read(tokens_1T, cache))

    def last(logits_1TV: Any, cache: Any) -> Any:
        return logits_1TV[0, -1].astype(jnp.float32), cache

    return jax.jit(fresh), jax.jit(more, donate_argnums=3)


class Bundle:
    """A bundle of language modelling."""

    def __init__(self, bundle: str | None, model: str | None):
        from lepton_jax.predict import opened
        from lepton_jax.serving import loader

        try:
            self._bundle, self.source = opened(bundle, model)
        except loader.BundleError as e:
            raise WorkError(str(e)) from None
        how = self._bundle.signature.get("text") or {}
        if not how.get("goes_on"):
            raise UserError(
                f"{self.source} does not go on from a text; expected the bundle of a run of "
                "language_modelling on texts"
            )
        self.context = int(how["size"]) - 1
        self.end = how.get("end")
        self._pad = int(how["pad"])

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()

    def prompt(self, text: str) -> list[int]:
        return self._bundle.prompt(text)

    def text(self, tokens: Sequence[int]) -> str:
        return self._bundle.text(tokens)

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        from lepton_jax.serving import loader

        size = self.context + 1
        padded = np.full((1, size), self._pad, np.int32)
        padded[0, : len(tokens)] = tokens
        # What is asked for has a place of its own.
        length = np.asarray([len(tokens) + 1], np.int32)
        try:
            found = self._bundle.predict({"tokens": padded, "length": length})
        except loader.BundleError as e:
            raise WorkError(str(e)) from None
        with np.errstate(divide="ignore"):
            return np.log(found["probabilities"][0])


def _first(count: int, context: int | None) -> int:
    """The first of `count` tokens that is looked back on: when the context is full its first half
    is let go, so that what is left is read again once for many tokens."""
    if context is None or count <= context:
        return 0
    half = max(1, context // 2)
    return -(-(count - context) // half) * half


def _sampler(
    temperature: float, top_k: int, top_p: float, seed: int
) -> Callable[[np.ndarray, int], int]:
    """Draws a token by logits [V], the i-th by its own key."""
    import jax

    from lepton_jax.nn.beam_search import filtered

    @jax.jit
    def draw(logits_V: Any, i: Any) -> Any:
        kept_1V = filtered(logits_V[None], temperature=temperature, top_k=top_k, top_p=top_p)
        key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), i)
        return jax.random.categorical(key, kept_1V[0])

    if is_off(temperature):
        return lambda logits_V, i: int(logits_V.argmax())
    return lambda logits_V, i: int(draw(logits_V, i))
