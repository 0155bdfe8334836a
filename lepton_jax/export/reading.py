"""A language model as two functions: one reads a prompt, one takes a token with the cache."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.data.spec import FieldSpec
from lepton_jax.models.model import CachedModel, HasContext
from lepton_jax.tasks.language_modelling import LanguageModelling
from lepton_jax.training.program import Program
from lepton_jax.trees import flatten_tree, unflatten_tree

# B batch, T tokens, V vocabulary.

PREFIX = "cache."
"""Begins the name of each array of the cache, among inputs and outputs."""

Function = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
"""A pure function `(weights, inputs)` to outputs, by name."""


@dataclass(frozen=True)
class Reading:
    """The functions with which a language model goes on from what it has read.

    `prefill` reads `tokens` int32 [1, T], a prompt; `step` takes `tokens` int32 [B, 1] and the
    cache of each row. Both return `logits` float32 [B, V] of the token after these, and the cache.
    The caches of several prompts, one after the other, are the cache of them all.
    """

    prefill: Function
    step: Function
    cache: Mapping[str, FieldSpec]
    """The arrays of the cache by name, without the batch axis."""
    context: int | None
    """The most tokens that the cache holds; None for as many as there are."""


def find_reading(program: Program, variables: Any) -> Reading | None:
    """Returns the functions of a program's model; None where it is none that reads with a cache.

    Args:
      variables: `(params, rest)` as arrays, or as their shapes.
    """
    if not isinstance(program.parts.task(), LanguageModelling):
        return None
    model: Any = program.parts.functional.merge(*variables)
    if not isinstance(model, CachedModel):
        return None
    trained_on = program.spec.fields["tokens"].shape[0] - 1
    context = model.context if isinstance(model, HasContext) else None
    room = trained_on if context is None else context
    like = _cache_shapes(model, 1, room)
    specs = {PREFIX + k: FieldSpec(x.shape[1:], np.dtype(x.dtype)) for k, x in like.items()}
    if not _is_by_row(like, _cache_shapes(model, 2, room)):
        return None
    grows = context is None and like != _cache_shapes(model, 1, room + 1)
    shapes = jax.eval_shape(lambda: model.cache(1, room))

    def module(weights: Mapping[str, Any]) -> Any:
        return program.parts.module(*(unflatten_tree(weights, v) for v in variables))

    def prefill(weights: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        read: Any = module(weights)
        return _after_last(*read.read(inputs["tokens"], read.cache(1, room)))

    def step(weights: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        cache = {k.removeprefix(PREFIX): v for k, v in inputs.items() if k.startswith(PREFIX)}
        return _after_last(*module(weights).read(inputs["tokens"], unflatten_tree(cache, shapes)))

    return Reading(prefill, step, specs, room if grows else context)


def _after_last(logits_BTV: jax.Array, cache: Any) -> dict[str, Any]:
    logits_BV = logits_BTV[:, -1].astype(jnp.float32)
    return {"logits": logits_BV, **{PREFIX + k: v for k, v in flatten_tree(cache).items()}}


def _cache_shapes(model: CachedModel, batch: int, room: int) -> dict[str, Any]:
    made = jax.eval_shape(lambda: model.cache(batch, room))
    return {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in flatten_tree(made).items()}


def _is_by_row(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Tells whether every array of a cache has the batch as its first axis."""
    return all(x.shape == (1, *two[k].shape[1:]) and len(two[k].shape) > 0 for k, x in one.items())
