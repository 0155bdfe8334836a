"""Watches the modules of a model while a step runs without jit: what went in and what came out."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lepton_jax.training.functional import Functional
from lepton_jax.trees import flatten_tree


@dataclass(frozen=True)
class NumberCounts:
    """What the floating arrays of a tree hold."""

    nan: int = 0
    inf: int = 0
    size: int = 0
    largest: float = 0.0
    """The largest magnitude among those that are finite."""

    @property
    def finite(self) -> bool:
        return not (self.nan or self.inf)

    def __str__(self) -> str:
        bad = [f"{n} {what}" for n, what in ((self.nan, "NaN"), (self.inf, "infinite")) if n]
        of = f" of {self.size} numbers; " if bad else ""
        return ", ".join(bad) + of + f"largest magnitude {self.largest:.3g}"


def count_numbers(tree: Any) -> NumberCounts:
    """Of concrete arrays and of tracers with a concrete value; other leaves are passed by."""
    found = [_numbers(x) for x in map(concrete_value, jax.tree.leaves(tree)) if x is not None]
    return NumberCounts(
        sum(n.nan for n in found),
        sum(n.inf for n in found),
        sum(n.size for n in found),
        max((n.largest for n in found), default=0.0),
    )


def concrete_value(x: Any) -> jax.Array | np.ndarray | None:
    """The value of a floating array, also inside `grad` and `vmap`; None where there is none."""
    while isinstance(x, jax.core.Tracer):
        x = getattr(x, "primal", getattr(x, "val", None))
    is_array = isinstance(x, jax.Array | np.ndarray)
    return x if is_array and jnp.issubdtype(x.dtype, jnp.floating) else None


def _numbers(x: Any) -> NumberCounts:
    x = np.asarray(x)
    if x.dtype.itemsize < 4:  # bfloat16 has no ufuncs of its own for some of these
        x = x.astype(np.float32)
    finite = np.isfinite(x)
    nan = int(np.isnan(x).sum())
    largest = float(np.abs(x[finite]).max(initial=0))
    return NumberCounts(nan, int(x.size - finite.sum()) - nan, x.size, largest)


@dataclass
class ModuleCall:
    """A module that has run: where it is in the model, and the numbers of its outputs."""

    path: str
    kind: str
    outputs: NumberCounts

    def __str__(self) -> str:
        return f"{self.path} ({self.kind})" if self.path else self.kind


@dataclass(frozen=True)
class BrokenModule:
    """The innermost module that made something not finite of finite inputs."""

    module: str
    path: str
    inputs: NumberCounts
    outputs: NumberCounts
    parameters: Mapping[str, NumberCounts]


@dataclass(frozen=True)
class _Place:
    module: Any  # kept, so that no other one gets its id
    path: str
    declared: str
    """As `path`, with a layer of a stack under the name of the stack: `blocks.norm`."""


class ModuleWatch:
    """Use `watching`."""

    def __init__(self, model: Functional, stack: ExitStack):
        self.seen: dict[str, ModuleCall] = {}
        """In the order in which they were first called, a module before those inside it."""
        self.broken: BrokenModule | None = None
        self.hidden: dict[str, None] = {}
        """Modules whose outputs could not be looked at, because something traced them."""
        self.stopped_in: str | None = None
        """The path of the innermost module that was running when an exception was raised."""
        self._model, self._stack = model, stack
        self._places: dict[int, _Place] = {}
        self._declared: dict[int, list[_Place]] = {}
        self._taken: dict[str, int] = {}
        self._running: list[Any] = []
        self._classes: set[type] = set()
        self._order: dict[str, int] = {}

    def order(self, parameter: str) -> int:
        """The place in the forward pass of the module that holds a parameter; -1: not called."""
        module = parameter.rpartition(".")[0]
        while module and module not in self._order:
            module = module.rpartition(".")[0]
        return self._order.get(module, -1)

    def name(self, module: Any, owner: Functional) -> None:
        """Gives the modules of a freshly merged model their names."""
        prefix = "" if owner is self._model else type(module).__name__
        self._taken.clear()
        self._declared[id(owner)] = self._register(module, prefix, prefix)

    def _register(self, module: Any, path: str, declared: str) -> list[_Place]:
        places = []
        for below, found in nnx.iter_modules(module):
            names = [str(p) for p in below]
            where = [".".join(filter(None, (start, *names))) for start in (path, declared)]
            places.append(self._places.setdefault(id(found), _Place(found, *where)))
            self._wrap(type(found))
        return places

    def _wrap(self, cls: type) -> None:
        if cls in self._classes or not any("__call__" in vars(c) for c in cls.__mro__):
            return
        self._classes.add(cls)
        original = cls.__call__

        def watched(module: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call(original, module, args, kwargs)

        self._stack.enter_context(replace_attribute(cls, "__call__", watched))

    def _call(self, original: Callable[..., Any], module: Any, args: Any, kwargs: Any) -> Any:
        if self._running and self._running[-1] is module:  # super().__call__()
            return original(module, *args, **kwargs)
        if id(module) not in self._places:
            self._adopt(module)
        place = self._places[id(module)]
        kind = type(module).__name__
        seen = self.seen.setdefault(place.path, ModuleCall(place.path, kind, NumberCounts()))
        self._order[place.declared] = len(self._order)
        inputs = count_numbers((args, kwargs))
        self._running.append(module)
        try:
            out = original(module, *args, **kwargs)
        except BaseException:
            self.stopped_in = place.path if self.stopped_in is None else self.stopped_in
            raise
        finally:
            self._running.pop()
        found = count_numbers(out)
        if any(isinstance(x, jax.core.Tracer) and concrete_value(x) is None for x in _floats(out)):
            self.hidden[str(seen)] = None
        if self.broken is None and inputs.finite and not found.finite:
            parameters = {
                k: count_numbers(v)
                for k, v in flatten_tree(nnx.to_pure_dict(nnx.state(module))).items()
            }
            self.broken = BrokenModule(str(seen), place.path, inputs, found, parameters)
        if found.largest >= seen.outputs.largest or not found.finite:
            seen.outputs = found
        return out

    def _adopt(self, module: Any) -> None:
        """Names a module that no merge of a model has shown.

        As a rule a model has taken one of its layers apart and put it together again, or taken it
        out of a stack `[L, ...]` of them, layer by layer.
        """
        parent = self._places[id(self._running[-1])].path if self._running else ""
        own = _shapes(module)
        layers: list[tuple[str, str]] = []
        for place in itertools.chain(*self._declared.values()):
            inside = not parent or place.path == parent or place.path.startswith(parent + ".")
            if not inside or type(place.module) is not type(module) or not own:
                continue
            shapes = _shapes(place.module)
            if shapes == own:
                layers.append((place.path, place.declared))
            lengths = {shape[:1] for shape in shapes.values()}
            if len(lengths) == 1 and {k: s[1:] for k, s in shapes.items()} == own:
                length = next(iter(lengths))[0]
                layers += [(f"{place.path}.{i}", place.declared) for i in range(length)]
        path = ".".join(filter(None, (parent, type(module).__name__)))
        if layers:
            turn = self._taken.get(layers[0][0], 0)
            self._taken[layers[0][0]] = turn + 1
            self._register(module, *layers[turn % len(layers)])
        else:
            self._register(module, path, path)


@contextmanager
def watch_modules(model: Functional) -> Iterator[ModuleWatch]:
    """Inside, nothing is compiled and every call of a module is looked at.

    Classes of modules get another `__call__` as they turn up; all of them get their own back,
    whatever happens. `model` is the one whose modules go by their bare paths. Rematerialisation,
    which changes no number, is left out, because values could not be seen in it.
    """
    merge = Functional.merge

    with ExitStack() as stack:
        watch = ModuleWatch(model, stack)

        def named(self: Functional, params: Any, rest: Any) -> Any:
            module = merge(self, params, rest)
            watch.name(module, self)
            return module

        stack.enter_context(replace_attribute(Functional, "merge", named))
        for name in ("checkpoint", "remat"):
            stack.enter_context(replace_attribute(jax, name, _as_it_is))
        stack.enter_context(jax.disable_jit())
        yield watch


def _as_it_is(function: Any = None, **_: Any) -> Any:
    """What stands in for `jax.checkpoint`, with or without its arguments."""
    return (lambda f: f) if function is None else function


@contextmanager
def replace_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Inside, `owner` has `value` for an attribute; then its own again, whatever happens."""
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _floats(tree: Any) -> list[Any]:
    leaves = jax.tree.leaves(tree)
    return [x for x in leaves if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)]


def _shapes(module: Any) -> dict[str, tuple[int, ...]]:
    return {k: jnp.shape(v) for k, v in flatten_tree(nnx.to_pure_dict(nnx.state(module))).items()}
