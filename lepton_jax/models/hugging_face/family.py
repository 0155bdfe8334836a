"""What a family of models is: our words and theirs side by side, for both directions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

# I inputs, O outputs of a layer; H, W a window; P a patch; C channels; D width; T tokens.

Keys = Mapping[str, Any]


class Relayout(NamedTuple):
    """How an array of theirs becomes ours, and back."""

    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]


SAME = Relayout(lambda x: x, lambda x: x)
MATRIX = Relayout(np.transpose, np.transpose)  # [O, I] and [I, O]
WINDOW = Relayout(
    lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)
)  # OIHW, HWIO
ROW = Relayout(lambda x: x.reshape(-1), lambda x: x[None, None])  # [1, 1, D] and [D]
TABLE = Relayout(lambda x: x[0], lambda x: x[None])  # [1, T, D] and [T, D]


def patches(size: int) -> Relayout:
    """A convolution [D, C, P, P] whose stride is its window, and a matrix [P P C, D]."""
    return Relayout(
        lambda x: x.transpose(2, 3, 1, 0).reshape(-1, len(x)),
        lambda x: x.reshape(size, size, -1, x.shape[-1]).transpose(3, 2, 0, 1),
    )


class Rule(NamedTuple):
    """An array of theirs, and ours; several of ours lie in it side by side along the last axis."""

    ours: tuple[str, ...]
    theirs: str
    layout: Relayout = SAME


Rules = Iterator[Rule]


@dataclass(frozen=True)
class Family:
    """What a model of ours is called there, and how one becomes the other."""

    model: str
    model_type: str
    architecture: str
    keys: Mapping[str, tuple[str, Any]]
    """Our config key: their key, and its value where their config leaves it out."""
    rules: Callable[[Keys], Rules]
    """The arrays of a model with these (our) keys."""
    follows: Callable[[Keys, Any, Any], dict[str, Any]]
    """More of their keys, given our keys, the model's input shape and its outputs."""
    ours: Keys = field(default_factory=dict)
    """Keys of ours that have one value in this family."""
    values: Keys = field(default_factory=dict)
    """Values of theirs in our words, where they are other words."""
    base: str = ""
    """What stands before a name in a whole model, and not in one without its head."""
    head: tuple[str, ...] = ("head.",)
    """How our names of what a new task brings anew begin."""
    length: str = ""
    """Their key of how many positions there are; a model of ours may have fewer."""
    settled: Callable[[Keys], Keys] = dict
    """Their config with its older and newer spellings made one."""


def complete_keys(keys: Keys) -> dict[str, Any]:
    """Our keys with what None stands for."""
    defaults = {"kv_heads": keys.get("heads"), "mlp_width": 4 * keys.get("width", 0)}
    return {k: defaults.get(k, v) if v is None else v for k, v in keys.items()}


def linear_rules(ours: str, theirs: str) -> Rules:
    yield Rule((f"{ours}.kernel",), f"{theirs}.weight", MATRIX)
    yield Rule((f"{ours}.bias",), f"{theirs}.bias")


def norm_rules(ours: str, theirs: str) -> Rules:
    yield Rule((f"{ours}.scale",), f"{theirs}.weight")
    yield Rule((f"{ours}.bias",), f"{theirs}.bias")


ACTIVATIONS = {"gelu": "gelu_exact", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
"""Our "gelu" is the tanh form, theirs is exact."""
SIZES = {
    "layers": ("num_hidden_layers", 12),
    "width": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
}
