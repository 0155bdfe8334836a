"""Explanations by gradients: saliency, SmoothGrad, integrated and expected gradients.

Each returns maps `[N, *shape]`: a number for each place of the input. Of an image's channels, or of
the entries of a token's vector, contributions are added up and gradients measured by their length.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.explanation.parts import InputParts
from lepton_jax.explanation.run_model import RunModel

# N inputs, B batch, R references.

DRAWS = 32
"""Noisy copies of SmoothGrad."""
NOISE = 0.15
"""The deviation of its noise, in shares of an input's range (Smilkov et al. 2017)."""
REFERENCES = 64
"""Training inputs of expected gradients."""
FIRST_STEPS, MOST_STEPS = 32, 4096
"""Steps of integrated gradients: doubled until they are complete."""
INCOMPLETE = 0.01
"""The share of the change of the score that may be missing."""
LITTLE = 1e-3
"""A change of the score, in nats, that counts as none."""


@dataclass(frozen=True)
class PathSums:
    """Maps of integrated gradients, and how complete each is."""

    maps: np.ndarray
    steps: np.ndarray
    """Of each input, int [N]."""
    missing: np.ndarray
    """The share [N] of the change of the score that the map does not add up to."""


def explain_saliency(
    model: RunModel, fields: Mapping[str, np.ndarray], target: np.ndarray, parts: InputParts
) -> np.ndarray:
    """Measures the gradient at the input (Simonyan et al. 2014)."""
    return _lengths(model.compute(_saliency, pack_rows(fields, target)), parts)


def explain_smoothgrad(
    model: RunModel, fields: Mapping[str, np.ndarray], target: np.ndarray, parts: InputParts
) -> np.ndarray:
    """Measures the mean gradient of noisy copies of the input (Smilkov et al. 2017)."""
    return _lengths(model.compute(_smoothgrad, pack_rows(fields, target)), parts)


def integrate_gradients(
    model: RunModel,
    fields: Mapping[str, np.ndarray],
    blank: Mapping[str, np.ndarray],
    target: np.ndarray,
    parts: InputParts,
    steps: int | None = None,
) -> PathSums:
    """Integrates gradients from a blank input to the input (Sundararajan et al. 2017).

    The midpoints of `steps` equal parts of the way are taken; None: as many as make the map add up
    to the change of the score within `INCOMPLETE`, up to `MOST_STEPS`.
    """
    rows = {**pack_rows(fields, target), "blank": blank[parts.field]}
    count = len(target)
    maps, missing = np.zeros((count, *parts.shape)), np.zeros(count)
    taken = np.zeros(count, np.int64)
    todo, now = np.arange(count), steps or FIRST_STEPS
    while len(todo):
        chosen = {name: x[todo] for name, x in rows.items()}
        found, change = model.compute(_integrate, chosen, np.int32(now))
        maps[todo], taken[todo] = _sums(found, parts), now
        difference = np.abs(maps[todo].reshape(len(todo), -1).sum(-1) - change)
        missing[todo] = np.where(
            difference > LITTLE, difference / np.maximum(np.abs(change), LITTLE), 0
        )
        todo = todo[missing[todo] > INCOMPLETE]
        now *= 2
        if steps or now > MOST_STEPS:
            break
    return PathSums(maps, taken, missing)


def expect_gradients(
    model: RunModel,
    fields: Mapping[str, np.ndarray],
    references: Mapping[str, np.ndarray],
    present: np.ndarray,
    target: np.ndarray,
    parts: InputParts,
) -> np.ndarray:
    """Averages gradients on the ways from training inputs to the input (Erion et al. 2021).

    `references`: raw inputs `[R, ...]`; the place on the way is another for each. They take the
    place of the parts that are `present`, bool [N, P].
    """
    count = len(references[parts.field])
    places = np.random.default_rng(0).permutation((np.arange(count) + 0.5) / count)
    rows = {**pack_rows(fields, target), "present": present[:, parts.numbers]}
    found = model.compute(_expect, rows, dict(references), places.astype(np.float32))
    return _sums(found, parts)


def _saliency(model: RunModel, params: Any, rows: Any) -> jax.Array:
    fields, target = unpack_rows(rows)
    return model.gradient(params, model.point(params, fields), fields, target)


def _smoothgrad(model: RunModel, params: Any, rows: Any) -> jax.Array:
    fields, target = unpack_rows(rows)
    x = model.point(params, fields)
    axes = tuple(range(1, x.ndim))
    scale = NOISE * (x.max(axes, keepdims=True) - x.min(axes, keepdims=True))

    def add(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        # The same noise for every input, so that none depends on those beside it.
        noisy = x + scale * jax.random.normal(key, x.shape[1:], x.dtype)
        return total + model.gradient(params, noisy, fields, target) / DRAWS, None

    return jax.lax.scan(add, jnp.zeros_like(x), jax.random.split(jax.random.key(0), DRAWS))[0]


def _integrate(model: RunModel, params: Any, rows: Any, steps: jax.Array) -> Any:
    rows = dict(rows)
    blank = rows.pop("blank")
    fields, target = unpack_rows(rows)
    x = model.point(params, fields)
    start = model.point(params, _with_input(model, fields, blank))

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        share = (i.astype(x.dtype) + 0.5) / steps
        return total + model.gradient(params, start + share * (x - start), fields, target)

    mean = jax.lax.fori_loop(0, steps, add, jnp.zeros_like(x)) / steps
    change = model.score(params, x, fields, target) - model.score(params, start, fields, target)
    return mean * (x - start), change


def _expect(
    model: RunModel, params: Any, rows: Any, references: Any, places: jax.Array
) -> jax.Array:
    fields, target = unpack_rows(rows)
    x = model.point(params, fields)
    starts = model.point(params, references)
    present = rows["present"]
    changes = present.reshape(*present.shape, *(1,) * (x.ndim - present.ndim))

    def add(total: jax.Array, item: Any) -> tuple[jax.Array, None]:
        start, share = jnp.where(changes, item[0], x), item[1]
        there = start + share.astype(x.dtype) * (x - start)
        return total + (x - start) * model.gradient(params, there, fields, target), None

    return jax.lax.scan(add, jnp.zeros_like(x), (starts, places))[0] / len(places)


def pack_rows(fields: Mapping[str, np.ndarray], target: np.ndarray) -> dict[str, np.ndarray]:
    return {**{f"field.{name}": x for name, x in fields.items()}, "target": target}


def unpack_rows(rows: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    fields = {n.removeprefix("field."): x for n, x in rows.items() if n.startswith("field.")}
    return fields, rows["target"]


def _with_input(model: RunModel, fields: Mapping[str, Any], value: Any) -> dict[str, Any]:
    return {**fields, model.field: value}


def _sums(found: np.ndarray, parts: InputParts) -> np.ndarray:
    """Adds up what lies at each place of a map: `[N, *shape]`, float64."""
    return found.astype(np.float64).reshape(len(found), *parts.shape, -1).sum(-1)


def _lengths(found: np.ndarray, parts: InputParts) -> np.ndarray:
    return np.linalg.norm(found.astype(np.float64).reshape(len(found), *parts.shape, -1), axis=-1)
