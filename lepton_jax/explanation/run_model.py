"""A run's model as a function that can be differentiated with respect to its input.

Of an image or a signal the input is what `data.prepare` gives; of a text it is the vectors of its
tokens. To differentiate by the vectors without a change of any model, the table of vectors is put
in the place of the embedding with a row for each place of each text, and the texts count its rows.
"""

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.errors import UserError
from lepton_jax.explanation.parts import InputParts
from lepton_jax.explanation.scores import score_class
from lepton_jax.explanation.taps import Tapping, Taps
from lepton_jax.training.runtime import runtime
from lepton_jax.training.saved import SavedRun
from lepton_jax.trees import flatten_tree, unflatten_tree

# B batch, T tokens, D size of a vector, V vocabulary, K classes.

Fields = Mapping[str, Any]

MOST_ROWS = 64
"""Inputs that are computed together; fewer are filled up to a power of four: few are compiled."""


class RunModel:
    """A run's model at a checkpoint. It computes in float32 at least.

    What differentiates raises `UserError` when it is not known where tokens become vectors.
    """

    def __init__(self, saved: SavedRun, parts: InputParts):
        self._parts = saved.program.parts
        self._precision = "float64" if saved.config.precision == "float64" else "float32"
        self.field = parts.field
        """The input that is explained."""
        params, rest = saved.program.training.variables(saved.state)
        self.params, self._rest = self._put(params), self._put(rest)
        vocabulary = saved.data.spec.vocabulary
        self._vocabulary = len(vocabulary) if parts.of_text and vocabulary else 0
        self._answer = jax.jit(self._probabilities)
        self._compiled: dict[Callable[..., Any], Callable[..., Any]] = {}

    @property
    def writes_tokens(self) -> bool:
        """Whether its answers are tokens, by the table, maybe, that makes vectors of them: then no
        other table can stand in its place.
        """
        return bool(self._vocabulary) and self._parts.task().outputs == self._vocabulary

    def shuffled(self) -> "RunModel":
        """Returns this model with the entries of each of its parameters in a random order."""
        rng = np.random.default_rng(0)
        other = copy.copy(self)
        other.params = self._put(
            jax.tree.map(
                lambda x: rng.permutation(np.asarray(x).ravel()).reshape(x.shape), self.params
            )
        )
        return other

    def _put(self, tree: Any) -> Any:
        """Puts arrays where JAX computes by default: what was compiled for some fits all others."""
        with runtime(self._precision):
            return jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), tree)

    def answer(self, fields: Mapping[str, np.ndarray]) -> np.ndarray:
        """Answers raw inputs `[N, ...]` with probabilities `[N, K]`."""
        with runtime(self._precision):
            return _in_batches(lambda rows: self._answer(self.params, rows), fields)

    def compute(self, function: Callable[..., Any], rows: Mapping[str, Any], *shared: Any) -> Any:
        """Calls `function(model, params, rows, *shared)`, traced once, on batches of the rows.

        `rows`: arrays `[N, ...]`. The results, `[N, ...]` each, are joined as NumPy arrays.
        """
        if function not in self._compiled:
            self._compiled[function] = jax.jit(lambda params, *args: function(self, params, *args))
        run = self._compiled[function]
        with runtime(self._precision):
            return _in_batches(lambda batch: run(self.params, batch, *shared), rows)

    def outline(self, function: Callable[..., Any], rows: Mapping[str, Any]) -> Any:
        """Returns the shapes of what `function(params, rows)` gives, without computing it."""
        with runtime(self._precision):
            return jax.eval_shape(function, self.params, rows)

    def point(self, params: Any, fields: Fields) -> jax.Array:
        """Returns the input in the space where it is differentiated, `[B, ...]`; traced."""
        x = self._prepare(fields)[self.field]
        return jnp.take(flatten_tree(params)[self._table], x, axis=0) if self._table else x

    def score(
        self,
        params: Any,
        x: jax.Array,
        fields: Fields,
        target: jax.Array,
        tap: Tapping | None = None,
        taps: Taps | None = None,
    ) -> jax.Array:
        """Returns the score [B] of the class `target` [B] of points `x` [B, ...]; traced.

        `fields`: the raw inputs, of which all but the one at `x` are used as they are.
        """
        batch = self._prepare(fields)
        if self._table:
            B, T, D = x.shape
            named = {**flatten_tree(params), self._table: x.reshape(B * T, D)}
            params = unflatten_tree(named, params)
            x = jnp.arange(B * T, dtype=jnp.int32).reshape(B, T)
        return score_class(self._predict(params, {**batch, self.field: x}, tap, taps), target, jnp)

    def gradient(self, params: Any, x: jax.Array, fields: Fields, target: jax.Array) -> jax.Array:
        """Returns the gradient of each input's own score at `x`, `[B, ...]`; traced."""
        return jax.grad(lambda x: self.score(params, x, fields, target).sum())(x)

    @cached_property
    def _table(self) -> str:
        """The parameter in which tokens become vectors; '' where there are no tokens."""
        return _find_table(self.params, self._vocabulary) if self._vocabulary else ""

    def module(self) -> Any:
        """Returns the Flax module with its parameters."""
        return self._parts.functional.merge(self.params, self._rest)

    def _probabilities(self, params: Any, fields: Fields) -> jax.Array:
        return self._predict(params, self._prepare(fields), None, None)

    def _predict(
        self, params: Any, batch: Any, tap: Tapping | None, taps: Taps | None
    ) -> jax.Array:
        model = self._parts.functional.merge(params, self._rest)
        if tap is not None and taps is not None:
            tap(model, taps)
        return self._parts.task().predict(model, batch)["probabilities"]

    def _prepare(self, fields: Fields) -> dict[str, jax.Array]:
        def widen(x: jax.Array) -> jax.Array:
            return x.astype(jnp.promote_types(x.dtype, jnp.float32)) if _is_float(x) else x

        return {name: widen(x) for name, x in self._parts.prepare(fields).items()}


def _is_float(x: jax.Array) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.floating))


def _find_table(params: Any, vocabulary: int) -> str:
    """Names the parameter `[V, D]` in which each token has its vector."""
    leaves = flatten_tree(params)
    tables = [n for n, x in leaves.items() if x.ndim == 2 and x.shape[0] == vocabulary]
    named = [n for n in tables if n.endswith("embedding") and "position" not in n] or tables
    if len(named) == 1:
        return named[0]
    first = [n for n in named if n.startswith("tokens.")]
    if len(first) == 1:
        return first[0]
    raise UserError(
        f"explain: in which parameter [{vocabulary}, D] tokens become vectors is not known: "
        f"{', '.join(tables) or 'there is none'}; call it tokens.embedding, or take "
        "--method=occlusion,ablation, which need none"
    )


def _in_batches(run: Callable[[Any], Any], rows: Mapping[str, Any]) -> Any:
    """Runs on batches of rows `[N, ...]`, filled up to a power of four by the last; joins them."""
    count = len(next(iter(rows.values())))
    found = []
    for start in range(0, count, MOST_ROWS):
        size = min(MOST_ROWS, count - start)
        padded = 4 ** -(-(size - 1).bit_length() // 2)
        index = np.minimum(np.arange(start, start + padded), start + size - 1)
        results = run({name: np.asarray(x)[index] for name, x in rows.items()})
        found.append(jax.tree.map(lambda y, size=size: np.asarray(y)[:size], results))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)
