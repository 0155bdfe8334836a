"""Grad-CAM: where the channels of a convolution see what speaks for a class."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.errors import UserError, choice_error
from lepton_jax.explanation.gradients import pack_rows, unpack_rows
from lepton_jax.explanation.parts import InputParts
from lepton_jax.explanation.run_model import RunModel
from lepton_jax.explanation.taps import Taps, find_convolutions, list_layers_of, tap_layers

# N inputs, B batch, H height, W width, C channels.


def explain_grad_cam(
    model: RunModel,
    fields: Mapping[str, np.ndarray],
    target: np.ndarray,
    parts: InputParts,
    layer: str,
) -> np.ndarray:
    """Weights the channels of a layer by the mean of their gradients, adds them up, and keeps what
    is positive (Selvaraju et al. 2017, equations 1 and 2): maps `[N, H, W]`, resized to the input.
    """
    return model.compute(_grad_cam(layer, parts.shape), pack_rows(fields, target))


def choose_layer(model: RunModel, fields: Mapping[str, np.ndarray], layer: str = "") -> str:
    """Returns the layer that Grad-CAM looks at: the one that is asked for, named as the parameters
    are; '': the last convolution, or the block around it that gives channels of the same size.

    Args:
      fields: any raw inputs `[N, ...]`.

    Raises:
      UserError: when there is no such layer, it gives no channels `[B, H, W, C]`, or the model has
        no convolution.
    """
    found = find_convolutions(model.params)
    if not (layer or found):
        raise UserError("grad_cam needs a convolution of images, and this model has none")
    names = list_layers_of(model.module())
    if layer and layer not in names:
        raise choice_error("explain: no layer", layer, names, "--layer")
    if layer:
        if len(_output_shapes(model, fields, [layer]).get(layer, ())) != 4:
            raise UserError(f"--layer={layer}: that layer gives no channels of an image")
        return layer
    last = list(_output_shapes(model, fields, found))[-1]
    around = [name for name in names if f"{last}.".startswith(f"{name}.")]
    shapes = _output_shapes(model, fields, around)
    size = shapes[last][1:3]
    same = [n for n in around if n in shapes and len(shapes[n]) == 4 and shapes[n][1:3] == size]
    return min(same, key=len)


def _output_shapes(
    model: RunModel, fields: Mapping[str, np.ndarray], names: list[str]
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of what layers give, in the order in which they are called."""

    def run(params: Any, rows: Any) -> dict[str, jax.Array]:
        taps = Taps({})
        x = model.point(params, rows)
        model.score(params, x, rows, jnp.zeros(len(x), jnp.int32), tap_layers(*names), taps)
        order.extend(taps.seen)
        return taps.seen

    order: list[str] = []
    shapes = model.outline(run, {n: x[:1] for n, x in fields.items()})
    return {name: shapes[name].shape for name in order}


@functools.cache
def _grad_cam(layer: str, size: tuple[int, ...]) -> Any:
    """Returns the function of `RunModel.compute`; the same for the same layer, so that it is
    compiled once.
    """

    def run(model: RunModel, params: Any, rows: Any) -> jax.Array:
        fields, target = unpack_rows(rows)
        x = model.point(params, fields)

        def score(offsets: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
            taps = Taps(offsets)
            scores = model.score(params, x, fields, target, tap_layers(layer), taps)
            return scores.sum(), taps.seen[layer]

        like = jax.eval_shape(lambda: score({})[1])
        zeros = {layer: jnp.zeros(like.shape, like.dtype)}
        gradient, channels_BHWC = jax.grad(score, has_aux=True)(zeros)
        return resize_cam(channels_BHWC, gradient[layer], size)

    return run


def resize_cam(
    channels_BHWC: jax.Array, gradient_BHWC: jax.Array, size: tuple[int, ...]
) -> jax.Array:
    """Returns maps `[B, *size]` of what a layer gives and of the score's gradient there."""
    weights_B11C = gradient_BHWC.mean((1, 2), keepdims=True)
    map_BHW = jax.nn.relu((weights_B11C * channels_BHWC).sum(-1))
    return jax.image.resize(map_BHW, (len(map_BHW), *size), "bilinear")
