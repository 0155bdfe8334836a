"""Looks inside a model while it computes: what a layer gives, and how an answer depends on it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
from flax import nnx

from lepton_jax.nn.attention import Attention
from lepton_jax.nn.blocks import unstack_layers
from lepton_jax.trees import flatten_tree

# B batch, H height, W width, C channels, N heads, T tokens that ask, S tokens that answer.


class Taps:
    """Keeps what passes by its name, and adds an offset to it.

    The gradient with respect to an offset of zeros is that with respect to what passes. Of a layer
    that is called several times the first call counts.
    """

    def __init__(self, offsets: Mapping[str, jax.Array]):
        self._offsets = offsets
        self.seen: dict[str, jax.Array] = {}
        """What passed, in the order in which it did."""

    def __call__(self, name: str, value: jax.Array) -> jax.Array:
        """Takes what passes, and returns what goes on."""
        if name in self.seen:
            return value
        self.seen[name] = value
        return value + self._offsets[name] if name in self._offsets else value


class TappedLayer(nnx.Module):
    """A layer whose output passes through taps."""

    def __init__(self, inner: Any, name: str, taps: Taps):
        self.inner = inner
        self._name = name
        self._taps = taps

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        outputs = self.inner(*args, **keywords)
        return self._taps(self._name, outputs) if isinstance(outputs, jax.Array) else outputs


class TappedAttention(nnx.Module):
    """Self-attention whose weights [B, N, T, S] pass through taps."""

    def __init__(self, inner: Attention, name: str, taps: Taps):
        self.inner = inner
        self._name = name
        self._taps = taps

    def __call__(self, x_BTD: jax.Array, length_B: jax.Array | None = None) -> jax.Array:
        return self.inner.watched(x_BTD, length_B, lambda w: self._taps(self._name, w))


Tapping = Callable[[Any, Taps], None]
"""Changes a model so that some of what it computes passes through taps."""


def tap_layers(*names: str) -> Tapping:
    """Taps the outputs of layers, which are named as parameters are: 'blocks.1.conv'."""

    def tap(model: Any, taps: Taps) -> None:
        # What lies inside first: then the way to what lies outside is still there.
        for name in sorted(names, key=lambda n: n.count("."), reverse=True):
            _replace(model, name, partial(TappedLayer, name=name, taps=taps))

    return tap


def tap_attention(model: Any, taps: Taps) -> None:
    """Taps the weights of every self-attention of a model, whose layers may be stacked."""
    stack = getattr(model, "blocks", None)
    if stack is not None and not isinstance(stack, nnx.List):
        model.blocks = nnx.List(unstack_layers(stack))
    if hasattr(model, "_remat"):
        model._remat = "none"  # what passes inside a layer that is computed again cannot leave it
    for name in [path_text(p) for p, m in nnx.iter_modules(model) if isinstance(m, Attention)]:
        _replace(model, name, partial(TappedAttention, name=name, taps=taps))


def find_convolutions(params: Any) -> list[str]:
    """Names the layers whose kernel is that of a convolution of images: it has four axes."""
    return [
        name.removesuffix(".kernel")
        for name, x in flatten_tree(params).items()
        if name.endswith(".kernel") and x.ndim == 4
    ]


def list_layers_of(model: Any) -> list[str]:
    """Names every layer of a model that can be called, the model itself left out."""
    return [
        path_text(path)
        for path, module in nnx.iter_modules(model)
        if path and callable(module) and not isinstance(module, nnx.List)
    ]


def path_text(path: tuple[Any, ...]) -> str:
    """Joins the path of a layer with dots."""
    return ".".join(map(str, path))


def _replace(model: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Puts `wrap(layer)` in the place of the layer `name`."""
    *above, last = name.split(".")
    holder = model
    for step in above:
        holder = _child(holder, step)
    inner = _child(holder, last)
    if isinstance(holder, nnx.List):
        holder[int(last)] = wrap(inner)
    else:
        setattr(holder, last, wrap(inner))


def _child(holder: Any, step: str) -> Any:
    return holder[int(step)] if isinstance(holder, nnx.List) else getattr(holder, step)
