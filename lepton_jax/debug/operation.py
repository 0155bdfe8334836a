"""Finds the operation of a step that first makes a NaN or an infinite number, and its line of code.

`jax.debug_nans` and `debug_infs` stop at it; the traceback says on which line of a model it is.
"""

import contextlib
import functools
import linecache
import os
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import flax
import jax
import numpy as np
import optax
from jax._src import api, dispatch, source_info_util  # where JAX looks at numbers, and notes names
from jax._src.api_util import InternalFloatingPointError
from jax._src.interpreters import ad

from lepton_jax.config.user_code import BrokenPart
from lepton_jax.debug.taps import ModuleWatch, replace_attribute, watch_modules
from lepton_jax.training import functional
from lepton_jax.training.functional import Functional

Kind = Literal["nan", "inf"]

_MACHINERY = (
    *(os.path.dirname(str(package.__file__)) + os.sep for package in (jax, flax, optax)),
    *(os.path.dirname(str(file)) + os.sep for file in (__file__, functional.__file__)),
    *(str(module.__file__) for module in (contextlib, functools)),
)


_MOVES = ("broadcast_in_dim", "copy", "reshape", "stage")
"""Operations that make no number: an infinite one in their result is a constant of the code, such
as the -inf with which `jax.nn.softmax` begins its maximum, or was made before."""


_STEEP_AT_ZERO = ("sqrt", "cbrt", "rsqrt", "log")
"""Operations whose derivative is infinite at 0."""

_MARK = "derivative_of_"
"""In JAX's stack of names, before the operation whose derivative is computed."""


@dataclass(frozen=True)
class FaultyOperation:
    """The first operation of the step that makes a NaN, or an infinite number."""

    makes: Kind
    name: str
    file: str
    line: int
    code: str
    module: str
    """The path of the module that was running; '' for none."""
    derivative: str = ""
    """The operation of the code in whose derivative `name` is; '' where it is the code's own."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: {self.code}" if self.file else ""
        number = "a NaN" if self.makes == "nan" else "an infinite number"
        said = f"the first operation to make {number}: "
        if not self.derivative:
            return said + self.name + (f" at {place}" if place else "")
        known = " (infinite at 0)" if self.derivative in _STEEP_AT_ZERO else ""
        through = f", going back through {place}" if place else ""
        return f"{said}the derivative of {self.derivative}{known}{through}"


def find_first_operations(
    model: Functional, take: Callable[[ModuleWatch], None], kind: Kind, backward: bool
) -> list[FaultyOperation]:
    """Finds the operation that makes the first NaN or infinite number of a step.

    For a NaN it also finds the one that makes an infinite number before, which as a rule is the
    cause.

    Args:
      take: takes the step under a watch.
      backward: leaves out infinite numbers of the forward pass, which as a rule are masks.
    """
    operations = [_find_first(model, take, ("inf", kind), backward)]
    if kind == "nan":
        operations.append(_find_first(model, take, ("nan",), False))
    return list(dict.fromkeys(o for o in operations if o is not None))


def _find_first(
    model: Functional, take: Callable[[ModuleWatch], None], kinds: tuple[Kind, ...], backward: bool
) -> FaultyOperation | None:
    split = Functional.split
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(watch_modules(model))
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(replace_attribute(dispatch, "_check_special", _check_made))
        stack.enter_context(replace_attribute(api, "_nan_check_posthook", _check_made_again))
        for trace in (ad.JVPTrace, ad.LinearizeTrace):
            marked = _mark_derivatives(trace.process_primitive)
            stack.enter_context(replace_attribute(trace, "process_primitive", marked))

        def guard() -> None:
            for kind in kinds:
                stack.enter_context({"nan": jax.debug_nans, "inf": jax.debug_infs}[kind](True))

        def split_and_guard(self: Functional, module: Any) -> Any:
            guard()
            return split(self, module)

        if backward:  # a model is taken apart when its forward pass is over
            stack.enter_context(replace_attribute(Functional, "split", split_and_guard))
        else:
            guard()
        try:
            take(watch)
        except (FloatingPointError, BrokenPart) as e:
            # A transform's error is told as that of a part, and caused by JAX's own.
            error = e.__cause__ if isinstance(e, BrokenPart) else e
            if not isinstance(error, FloatingPointError):
                raise
            name = re.search(r"\((\w+)\) encountered in ([\w-]+)", str(error))
            if name is None:
                return None
            makes: Kind = "nan" if name[1] == "nan" else "inf"
            file, line, code = next(_lines(error), ("", 0, ""))
            module, derivative = watch.stopped_in or "", _find_derivative(name[2], error)
            return FaultyOperation(makes, name[2], file, line, code, module, derivative)
    return None


_check_special = dispatch._check_special
_check_call = api._nan_check_posthook


def _check_made(name: str, dtype: np.dtype, buffer: Any) -> None:
    """Checks the result of an operation as JAX does, unless the operation only moves numbers."""
    if name.removeprefix("jit(").removesuffix(")") not in _MOVES:
        with _noting_names():
            _check_special(name, dtype, buffer)


def _check_made_again(function: Any, args: Any, kwargs: Any, output: Any) -> None:
    """Checks an operation that has run before, which JAX calls by a shorter way, likewise."""
    if getattr(getattr(function, "_fun", None), "__qualname__", "") not in _MOVES:
        with _noting_names():
            _check_call(function, args, kwargs, output)


def _mark_derivatives(process: Callable[..., Any]) -> Callable[..., Any]:
    """Returns JAX's rule of differentiation, which then names in the stack what it differentiates;
    going back, JAX restores the stack of each operation.
    """

    def marked(trace: Any, primitive: Any, *args: Any) -> Any:
        with source_info_util.extend_name_stack(_MARK + primitive.name):
            return process(trace, primitive, *args)

    return marked


@contextlib.contextmanager
def _noting_names() -> Iterator[None]:
    """Notes JAX's stack of names in an error."""
    try:
        yield
    except (FloatingPointError, InternalFloatingPointError) as e:
        stack = source_info_util.current_name_stack().stack
        e.names = [part.name for part in stack]  # type: ignore[union-attr]
        raise


def _find_derivative(operation: str, error: BaseException | None) -> str:
    """Returns the operation of the code in whose derivative `operation` is; '' for none."""
    while error is not None and not hasattr(error, "names"):
        error = error.__cause__ or error.__context__
    names: list[str] = getattr(error, "names", [])
    marks = [name.removeprefix(_MARK) for name in names if name.startswith(_MARK)]
    # Where JAX computes `sqrt` itself, on its way forward, the mark stands already.
    if not marks or ("transpose" not in names and operation == marks[-1]):
        return ""
    return marks[-1]


def _lines(error: BaseException | None) -> Iterator[tuple[str, int, str]]:
    """Yields file, number and text of the lines of a user's or a model's code, innermost first.

    Backpropagation runs in no such code: the cause of its error names the line where the operation
    was differentiated.
    """
    while error is not None:
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if not frame.filename.startswith(_MACHINERY):
                line = frame.lineno or 0
                code = linecache.getline(frame.filename, line).strip()
                yield os.path.relpath(frame.filename), line, code
        error = error.__cause__
