"""An NNX module taken apart once: pure dicts outside, a module only inside a traced step.

Flattening an NNX module each call costs several times a small step; pure dicts cost less than any
other way to carry a model's state.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from lepton_jax.models.layers import HyperVariable
from lepton_jax.training.state import flat

Params = dict[str, Any]
Rest = dict[str, Any]


class Functional:
    """A module as pure functions of its parameters and of the rest of its variables.

    `params`: every `nnx.Param`. `rest`: running statistics and whatever else the module keeps.
    """

    def __init__(self, make: Callable[..., nnx.Module]):
        """`make(rngs)` builds the module; its structure must not depend on the random keys."""
        self._make = make
        abstract = nnx.eval_shape(lambda: make(nnx.Rngs(params=0)))
        parts: Any = nnx.split(abstract, nnx.Param, ...)
        self._graph = parts[0]
        varied: Any = nnx.split(abstract, HyperVariable, ...)
        self.numbers = frozenset(flat(nnx.to_pure_dict(varied[1])))
        """Names in `rest` that are the config's and no weights, such as a dropout rate."""

    def init(
        self, key: jax.Array, make: Callable[..., nnx.Module] | None = None
    ) -> tuple[Any, Any]:
        """Fresh `(params, rest)`. `make` may stand in, with traced numbers in its arguments."""
        return self.split((make or self._make)(nnx.Rngs(params=key)))

    def merge(self, params: Params, rest: Rest) -> Any:
        """The module with these variables; what it changes in itself is read back by `split`."""
        return nnx.merge(self._graph, params, rest)

    def split(self, module: nnx.Module) -> tuple[Params, Rest]:
        parts: Any = nnx.split(module, nnx.Param, ...)
        _, params, rest = parts
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)
