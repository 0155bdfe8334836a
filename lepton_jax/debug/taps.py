"""Watches the modules of a model while a step runs without jit: what goes in and what comes out."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.debug.numbers import NumberCounts, concrete_value, count_numbers
from lepton_jax.training.functional import Functional
from lepton_jax.trees import flatten_tree


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
class _NamedModule:
    module: Any  # kept, so that no other one gets its id
    path: str
    stack_path: str
    """As `path`, with a layer of a stack under the name of the stack: `blocks.norm`."""


class ModuleWatch:
    """What a step shows of its modules. Made by `watch_modules`."""

    def __init__(self, model: Functional, stack: ExitStack):
        self.calls: dict[str, ModuleCall] = {}
        """In the order in which they were first called, a module before those inside it."""
        self.broken: BrokenModule | None = None
        self.hidden: dict[str, None] = {}
        """Modules whose outputs could not be looked at, because something traced them."""
        self.stopped_in: str | None = None
        """The path of the innermost module that was running when an exception was raised."""
        self._model, self._stack = model, stack
        self._modules: dict[int, _NamedModule] = {}
        self._modules_of: dict[int, list[_NamedModule]] = {}
        self._adopted: dict[str, int] = {}
        self._running: list[Any] = []
        self._classes: set[type] = set()
        self._order: dict[str, int] = {}

    def order(self, parameter: str) -> int:
        """Returns when in the forward pass the module of a parameter was called; -1: never."""
        module = parameter.rpartition(".")[0]
        while module and module not in self._order:
            module = module.rpartition(".")[0]
        return self._order.get(module, -1)

    def name(self, module: Any, owner: Functional) -> None:
        """Gives the modules of a freshly merged model their names."""
        prefix = "" if owner is self._model else type(module).__name__
        self._adopted.clear()
        self._modules_of[id(owner)] = self._register(module, prefix, prefix)

    def _register(self, module: Any, path: str, stack_path: str) -> list[_NamedModule]:
        registered = []
        for below, submodule in nnx.iter_modules(module):
            names = [str(p) for p in below]
            paths = [".".join(filter(None, (start, *names))) for start in (path, stack_path)]
            named = _NamedModule(submodule, *paths)
            registered.append(self._modules.setdefault(id(submodule), named))
            self._wrap(type(submodule))
        return registered

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
        if id(module) not in self._modules:
            self._adopt(module)
        named = self._modules[id(module)]
        kind = type(module).__name__
        call = self.calls.setdefault(named.path, ModuleCall(named.path, kind, NumberCounts()))
        self._order[named.stack_path] = len(self._order)
        inputs = count_numbers((args, kwargs))
        self._running.append(module)
        try:
            out = original(module, *args, **kwargs)
        except BaseException:
            self.stopped_in = named.path if self.stopped_in is None else self.stopped_in
            raise
        finally:
            self._running.pop()
        outputs = count_numbers(out)
        if any(isinstance(x, jax.core.Tracer) and concrete_value(x) is None for x in _floats(out)):
            self.hidden[str(call)] = None
        if self.broken is None and inputs.finite and not outputs.finite:
            parameters = {
                k: count_numbers(v)
                for k, v in flatten_tree(nnx.to_pure_dict(nnx.state(module))).items()
            }
            self.broken = BrokenModule(str(call), named.path, inputs, outputs, parameters)
        if outputs.largest >= call.outputs.largest or not outputs.finite:
            call.outputs = outputs
        return out

    def _adopt(self, module: Any) -> None:
        """Names a module that no merge of a model has shown.

        As a rule it is a layer that the model has taken apart and put together again, or has taken
        out of a stack `[L, ...]`, layer by layer.
        """
        parent = self._modules[id(self._running[-1])].path if self._running else ""
        shapes = _shapes(module)
        layers: list[tuple[str, str]] = []
        for named in itertools.chain(*self._modules_of.values()):
            inside = not parent or named.path == parent or named.path.startswith(parent + ".")
            if not inside or type(named.module) is not type(module) or not shapes:
                continue
            named_shapes = _shapes(named.module)
            if named_shapes == shapes:
                layers.append((named.path, named.stack_path))
            lengths = {shape[:1] for shape in named_shapes.values()}
            if len(lengths) == 1 and {k: s[1:] for k, s in named_shapes.items()} == shapes:
                length = next(iter(lengths))[0]
                layers += [(f"{named.path}.{i}", named.stack_path) for i in range(length)]
        path = ".".join(filter(None, (parent, type(module).__name__)))
        if layers:
            turn = self._adopted.get(layers[0][0], 0)
            self._adopted[layers[0][0]] = turn + 1
            self._register(module, *layers[turn % len(layers)])
        else:
            self._register(module, path, path)


@contextmanager
def watch_modules(model: Functional) -> Iterator[ModuleWatch]:
    """Watches every call of a module while it is entered; nothing is compiled meanwhile.

    Classes of modules get another `__call__` as they turn up; all of them get their own back,
    whatever happens. Rematerialization, which changes no number, is left out, because values
    could not be seen in it.

    Args:
      model: the one whose modules go by their bare paths; others have their class's name in front.
    """
    merge = Functional.merge

    with ExitStack() as stack:
        watch = ModuleWatch(model, stack)

        def merge_and_name(self: Functional, params: Any, rest: Any) -> Any:
            module = merge(self, params, rest)
            watch.name(module, self)
            return module

        stack.enter_context(replace_attribute(Functional, "merge", merge_and_name))
        for name in ("checkpoint", "remat"):
            stack.enter_context(replace_attribute(jax, name, _leave_as_it_is))
        stack.enter_context(jax.disable_jit())
        yield watch


def _leave_as_it_is(function: Any = None, **_: Any) -> Any:
    """Stands in for `jax.checkpoint`, with or without its arguments, and changes nothing."""
    return (lambda f: f) if function is None else function


@contextmanager
def replace_attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute of `owner` while it is entered, and then puts the old one back."""
    original = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)


def _floats(tree: Any) -> list[Any]:
    leaves = jax.tree.leaves(tree)
    return [x for x in leaves if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)]


def _shapes(module: Any) -> dict[str, tuple[int, ...]]:
    return {k: jnp.shape(v) for k, v in flatten_tree(nnx.to_pure_dict(nnx.state(module))).items()}
