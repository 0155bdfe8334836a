"""Explanations by attention: rollout, and attention weighted by its gradient."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.errors import UserError
from lepton_jax.explanation.gradients import pack_rows, unpack_rows
from lepton_jax.explanation.parts import InputParts
from lepton_jax.explanation.run_model import RunModel
from lepton_jax.explanation.taps import Taps, tap_attention

# N inputs, B batch, L layers, A heads, T tokens.


def explain_rollout(
    model: RunModel, fields: Mapping[str, np.ndarray], target: np.ndarray, parts: InputParts
) -> np.ndarray:
    """Follows attention through the layers, half of each token staying where it is (Abnar &
    Zuidema 2020): maps `[N, *shape]` of what the answer's tokens read.
    """
    return _place(model.compute(_rollout, pack_rows(fields, target)), parts)


def explain_attention_gradient(
    model: RunModel, fields: Mapping[str, np.ndarray], target: np.ndarray, parts: InputParts
) -> np.ndarray:
    """Follows the attention that raises the score: each weight counts times its gradient, where
    that is positive (Chefer et al. 2021, equations 5 and 6). Maps `[N, *shape]`.
    """
    return _place(model.compute(_by_gradient, pack_rows(fields, target)), parts)


def has_attention(model: RunModel) -> bool:
    """Tells whether a model has self-attention that can be looked at."""
    from flax import nnx

    from lepton_jax.nn.attention import Attention

    return any(isinstance(module, Attention) for _, module in nnx.iter_modules(model.module()))


def roll_out(weights: list[jax.Array]) -> jax.Array:
    """Multiplies the attention `[B, A, T, T]` of the layers, the first one first: `[B, T, T]`, how
    much each token of the last layer reads of each of the input.
    """
    first = weights[0].mean(1)
    read_BTT = jnp.broadcast_to(jnp.eye(first.shape[-1], dtype=first.dtype), first.shape)
    for weights_BATT in weights:
        mean_BTT = weights_BATT.mean(1)
        stays = jnp.eye(mean_BTT.shape[-1], dtype=mean_BTT.dtype)
        read_BTT = (0.5 * mean_BTT + 0.5 * stays) @ read_BTT
    return read_BTT


def follow_relevance(weights: list[jax.Array], gradients: list[jax.Array]) -> jax.Array:
    """Adds up what attention carries that raises the score, layer by layer: `[B, T, T]`.

    Args:
      weights: of each layer, `[B, A, T, T]`, the first one first.
      gradients: of the score with respect to them.
    """
    first = weights[0].mean(1)
    read_BTT = jnp.broadcast_to(jnp.eye(first.shape[-1], dtype=first.dtype), first.shape)
    for weights_BATT, gradient_BATT in zip(weights, gradients, strict=True):
        read_BTT += jax.nn.relu(weights_BATT * gradient_BATT).mean(1) @ read_BTT
    return read_BTT - jnp.eye(read_BTT.shape[-1], dtype=read_BTT.dtype)


def _rollout(model: RunModel, params: Any, rows: Any) -> jax.Array:
    weights, gradients = _attention(model, params, rows)
    return _mean_of_read(roll_out(weights), gradients[-1])


def _by_gradient(model: RunModel, params: Any, rows: Any) -> jax.Array:
    weights, gradients = _attention(model, params, rows)
    return _mean_of_read(follow_relevance(weights, gradients), gradients[-1])


def _attention(model: RunModel, params: Any, rows: Any) -> tuple[list[jax.Array], list[jax.Array]]:
    """Returns the weights of each layer, and the gradients of the score with respect to them."""
    fields, target = unpack_rows(rows)
    x = model.point(params, fields)

    def score(offsets: Mapping[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        taps = Taps(offsets)
        scores = model.score(params, x, fields, target, tap_attention, taps)
        order[:] = taps.seen
        return scores.sum(), taps.seen

    order: list[str] = []
    like = jax.eval_shape(lambda: score({})[1])
    zeros = {name: jnp.zeros(x.shape, x.dtype) for name, x in like.items()}
    gradients, weights = jax.grad(score, has_aux=True)(zeros)
    return [weights[name] for name in order], [gradients[name] for name in order]


def _mean_of_read(read_BTT: jax.Array, gradient_BATT: jax.Array) -> jax.Array:
    """Averages the rows of the tokens that the answer is read from: `[B, T]`.

    They are those whose attention in the last layer changes the score: a class token, or all.
    """
    is_read_BT = (jnp.abs(gradient_BATT).sum((1, 3)) > 0).astype(read_BTT.dtype)
    total_BT = jnp.einsum("bt,bts->bs", is_read_BT, read_BTT)
    return total_BT / jnp.maximum(is_read_BT.sum(-1, keepdims=True), 1)


def _place(tokens: np.ndarray, parts: InputParts) -> np.ndarray:
    """Makes maps `[N, *shape]` of what is read of each token `[N, T]`; of an image tokens are
    square patches, row by row, and there may be others before them.
    """
    if len(parts.shape) == 1:
        if tokens.shape[1] != parts.shape[0]:
            raise UserError(f"attention over {tokens.shape[1]} tokens: not those of {parts.shape}")
        return tokens.astype(np.float64)
    height, width = parts.shape
    for before in range(2):
        patch = round((height * width / max(tokens.shape[1] - before, 1)) ** 0.5)
        rows, columns = height // patch, width // patch
        if rows * columns == tokens.shape[1] - before and (height, width) == (
            rows * patch,
            columns * patch,
        ):
            grid = tokens[:, before:].reshape(-1, rows, columns).astype(np.float64)
            return grid.repeat(patch, axis=1).repeat(patch, axis=2)
    raise UserError(
        f"attention over {tokens.shape[1]} tokens: no square patches of {height} x {width} pixels"
    )
