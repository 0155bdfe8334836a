"""An NNX module split once into pure dicts, and merged again only inside a traced step.

To flatten a module at every call costs several times a small step. Pure dicts are the cheapest way
to carry a model's variables.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import jax
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.nn.layers import HyperVariable
from lepton_jax.trees import flatten_tree

Params = dict[str, Any]
Rest = dict[str, Any]


class Functional:
    """A module as pure functions of its variables.

    `params`: every `nnx.Param`. `rest`: running statistics and whatever else the module keeps.
    """

    def __init__(self, make: Callable[..., nnx.Module], name: str = "the model"):
        """Builds the abstract module by `make(rngs)`, whose structure must not depend on the keys.

        `name`: what messages call it.

        Raises:
          UserError: when `make` makes no NNX module.
          UserError: for a layer whose draws or statistics would depend on the placement, and for
            a JAX array that is an attribute and no variable.
        """
        self._make = make
        abstract = nnx.eval_shape(lambda: _checked_module(make(nnx.Rngs(params=0)), name))
        _refuse_what_depends_on_placement(abstract)
        _refuse_arrays(abstract)
        parts: Any = nnx.split(abstract, nnx.Param, ...)
        self._graph = parts[0]
        self.params = nnx.to_pure_dict(parts[1])
        """Shape and dtype of every parameter, as a tree."""
        varied: Any = nnx.split(abstract, HyperVariable, ...)
        self.numbers = frozenset(flatten_tree(nnx.to_pure_dict(varied[1])))
        """Names in `rest` that are the config's and no weights, such as a dropout rate."""

    def init(
        self, key: jax.Array, make: Callable[..., nnx.Module] | None = None
    ) -> tuple[Any, Any]:
        """Returns fresh `(params, rest)`; by another `make` where numbers in it are traced."""
        return self.split((make or self._make)(nnx.Rngs(params=key)))

    def merge(self, params: Params, rest: Rest) -> Any:
        """Returns the module with these variables; `split` reads back what a call changed."""
        return nnx.merge(self._graph, params, rest)

    def with_structure(self, module: nnx.Module) -> "Functional":
        """Returns these functions for another module with the same variables.

        What `module` keeps beside its variables may be traced; then use them in the same trace.
        """
        other = copy.copy(self)
        parts: Any = nnx.split(module, nnx.Param, ...)
        other._graph = parts[0]
        return other

    def split(self, module: nnx.Module) -> tuple[Params, Rest]:
        """Returns `(params, rest)` of a module of this structure."""
        parts: Any = nnx.split(module, nnx.Param, ...)
        _, params, rest = parts
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def _checked_module(model: Any, name: str) -> nnx.Module:
    """Returns the model. Raises `UserError` when it is no NNX module."""
    if isinstance(model, nnx.Module):
        return model
    linen = any(c.__module__.startswith("flax.linen") for c in type(model).__mro__)
    kind = "flax.linen module (flax.nnx.bridge.ToNNX wraps one)" if linen else type(model).__name__
    raise UserError(f"{name} is a {kind}; expected a flax.nnx.Module")


def array_attributes(model: Any) -> Iterator[tuple[str, jax.Array]]:
    """Yields the JAX arrays that modules keep as attributes and not as variables, by their path."""
    for path, module in nnx.iter_modules(model):
        for name, value in vars(module).items():
            if isinstance(value, jax.Array):
                yield ".".join(map(str, (*path, name))), value


def _refuse_arrays(model: Any) -> None:
    """Raises `UserError` for an attribute that would be neither a variable nor a constant."""
    for path, _ in array_attributes(model):
        raise UserError(
            f"model.{path}: the model keeps a JAX array as a plain attribute; expected a NumPy "
            "array for a constant, lepton_jax.nn.layers.HyperVariable(array) for a number that "
            "trials may vary, or another nnx.Variable(array)"
        )


def _refuse_what_depends_on_placement(model: Any) -> None:
    """Raises `UserError` for layers whose draws or statistics would differ by where they run."""
    for path, module in nnx.iter_modules(model):
        if isinstance(module, nnx.BatchNorm | nnx.Dropout):
            kind, where = type(module).__name__, ".".join(map(str, path)) or "the model"
            raise UserError(
                f"{where} is Flax's {kind}, whose draws or averages depend on the devices and on "
                f"a flag for evaluation; use lepton_jax.nn.layers.{kind}(...)(x, noise)"
            )
    parts: Any = nnx.split(model, nnx.RngState, ...)
    kept = flatten_tree(nnx.to_pure_dict(parts[1]))
    if kept:
        raise UserError(
            f"{next(iter(kept))}: the model keeps a random generator, whose draws would depend "
            "on the devices; use `rngs` only to initialize parameters, and draw from `noise` in "
            "__call__(x, noise=None)"
        )
