"""What reads tokens: a run, by its model's cache, or a bundle, by its programs with a cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from lepton_jax.config.components import resolve_component
from lepton_jax.errors import UserError, WorkError
from lepton_jax.registry.bundles import open_bundle
from lepton_jax.serving import loader


class RunReader:
    """A run of language modelling, at one of its checkpoints.

    `tokens`: how many are to be made after a prompt, so that the cache has room for them.
    """

    def __init__(self, workdir: str, checkpoint: str, tokens: int):
        from lepton_jax.models.model import CachedModel, HasContext
        from lepton_jax.tasks.language_modelling import LanguageModelling
        from lepton_jax.training import saved

        config = saved.read_config(workdir)
        task = resolve_component("task", config.task.name)
        if not (isinstance(task, type) and issubclass(task, LanguageModelling)):
            raise UserError(
                f"--workdir={workdir}: {config.task.name} makes no texts; expected a run of "
                "language_modelling, or of a subclass of LanguageModelling"
            )
        self._precision = config.precision
        with self.running():
            trained = saved.load_run(workdir, checkpoint)
            self.source = f"{workdir}, step {trained.step}"
            self._data = trained.data
            vocabulary = self._data.spec.vocabulary
            assert vocabulary is not None
            self.end, self.unknown = vocabulary.end, vocabulary.unknown
            program = trained.program
            self._variables = program.training.variables(trained.state)
            model = program.parts.functional.merge(*self._variables)
        if not isinstance(model, CachedModel):
            raise UserError(
                f"--workdir={workdir}: model {config.model.name} cannot read a token at a time: it "
                "has no cache(batch, length) and read(tokens, cache)"
            )
        self.context = model.context if isinstance(model, HasContext) else None
        self._read: list[int] = []
        """The tokens that the cache holds."""
        self._cache: Any = None
        self._tokens = tokens
        self._begin, self._continue = _reading_functions(program)

    def running(self) -> AbstractContextManager[None]:
        from lepton_jax.training.runtime import runtime

        return runtime(self._precision)

    def prompt(self, text: str) -> list[int]:
        return self._data.encode_prompt(text)

    def text(self, tokens: Sequence[int]) -> str:
        return self._data.decode_tokens(tokens)

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        count = len(self._read)
        goes_on = 0 < count < len(tokens) and list(tokens[:count]) == self._read
        new_1T = np.asarray([tokens[count:] if goes_on else tokens], np.int32)
        if goes_on:
            logits_V, self._cache = self._continue(*self._variables, new_1T, self._cache)
        else:
            room = len(tokens) + self._tokens if self.context is None else self.context
            logits_V, self._cache = self._begin(*self._variables, new_1T, room)
        self._read = list(tokens)
        return np.asarray(logits_V)


def _reading_functions(program: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns compiled functions that read tokens [1, T]: into a new cache with room for `room`
    tokens, and into a used one.

    Both return the logits float32 [V] after the last token, and the cache.
    """
    import jax
    import jax.numpy as jnp

    def begin(params: Any, rest: Any, tokens_1T: Any, room: int) -> Any:
        model = program.parts.module(params, rest)
        return last(*model.read(tokens_1T, model.cache(1, room)))

    def go_on(params: Any, rest: Any, tokens_1T: Any, cache: Any) -> Any:
        return last(*program.parts.module(params, rest).read(tokens_1T, cache))

    def last(logits_1TV: Any, cache: Any) -> Any:
        return logits_1TV[0, -1].astype(jnp.float32), cache

    return jax.jit(begin, static_argnums=3), jax.jit(go_on, donate_argnums=3)


class BundleReader:
    """A bundle of language modelling, from a folder or the registry; see `open_bundle`.

    One that is older than programs with a cache reads a whole prefix again for every token.
    """

    def __init__(self, bundle: str | None, model: str | None):
        with _work_errors():
            self._bundle, self.source = open_bundle(bundle, model)
        text = self._bundle.signature.get("text") or {}
        if not text.get("goes_on"):
            raise UserError(
                f"{self.source} does not continue a text; expected the bundle of a run of "
                "language_modelling on texts"
            )
        self.end, self.unknown = text.get("end"), text.get("unknown")
        self._pad, self._size = int(text["pad"]), int(text["size"])
        self.context: int | None = self._size - 1
        self._read: list[int] = []
        """The tokens that the cache holds."""
        self._cache: Any = None
        if self._bundle.has_cached:
            with _work_errors():
                self.context = self._bundle.cached.context

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()

    def prompt(self, text: str) -> list[int]:
        return self._bundle.prompt(text)

    def text(self, tokens: Sequence[int]) -> str:
        return self._bundle.text(tokens)

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        with _work_errors():
            if self._bundle.has_cached:
                return self._logits_by_cache(list(tokens))
            return self._logits_by_prefix(tokens)

    def _logits_by_cache(self, tokens: list[int]) -> np.ndarray:
        programs, count = self._bundle.cached, len(self._read)
        if 0 < count == len(tokens) - 1 and tokens[:count] == self._read:
            logits_1V, self._cache = programs.step(tokens[count:], self._cache)
        else:
            logits_1V, self._cache = programs.prefill(tokens)
        self._read = tokens
        return np.asarray(logits_1V)[0]

    def _logits_by_prefix(self, tokens: Sequence[int]) -> np.ndarray:
        padded = np.full((1, self._size), self._pad, np.int32)
        padded[0, : len(tokens)] = tokens
        # The token that is asked for has a place of its own.
        length = np.asarray([len(tokens) + 1], np.int32)
        outputs = self._bundle.predict({"tokens": padded, "length": length})
        with np.errstate(divide="ignore"):
            return np.log(outputs["probabilities"][0])


@contextmanager
def _work_errors() -> Iterator[None]:
    """Turns the errors of a bundle into `WorkError`."""
    try:
        yield
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
