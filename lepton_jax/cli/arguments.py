"""What the arguments of a command may be, for a command line and for Python alike.

A parameter's annotation says it, as that of a config key does: a type, a range, or `PathText`.
"""

import functools
import inspect
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

from lepton_jax.config.nearest_value import Mismatch, fit_value, write_value
from lepton_jax.config.plain import list_items, to_plain
from lepton_jax.config.schema import PATH, Key, PathText, coerce_value, split_annotation
from lepton_jax.errors import UserError

P = ParamSpec("P")
T = TypeVar("T")


def command(function: Callable[P, T]) -> Callable[P, T]:
    """Makes a command of a function: each argument that is given is checked before it runs.

    Raises:
      UserError: for an argument that its parameter's annotation does not allow.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        given = signature.bind(*args, **kwargs)
        given.arguments.update(check_arguments(function, given.arguments))
        return function(*given.args, **given.kwargs)

    return checked


def check_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments as the parameters of `function` take them. Raises as `command` does."""
    parameters = inspect.signature(function).parameters
    checked = {}
    for name, value in given.items():
        p = parameters[name]
        try:
            checked[name] = _read(value, split_annotation(p.annotation, p.default))
        except ValueError as e:
            meant = e.meant if isinstance(e, Mismatch) else ""
            usual = ""
            if not meant and p.default not in (p.empty, None, ""):
                meant = write_value(p.default)
                usual = f"; by default it is {meant}"
            raise UserError(
                f"{function.__name__}: --{name}: {e}{usual}",
                instead=(f"--{name}", f"--{name}={meant}") if meant else None,
            ) from None
    return checked


def _read(value: Any, key: Key) -> Any:
    """Returns an argument as its parameter takes it. Raises `ValueError` where it does not."""
    if key.annotation in (Sequence[str], Sequence[Any]):
        return list_items(value)
    if key.annotation == tuple[str, ...]:
        return tuple(value.split(",") if isinstance(value, str) else list_items(value))
    if typing.get_origin(key.annotation) is Literal:
        return fit_value(value, key.annotation)
    if key.annotation not in (str, int, float, bool, float | None, int | None):
        return value
    value = to_plain(value)
    if key.annotation is str and type(value) is int:
        value = str(value)  # of a step or a number of lanes
    declared: Any = key.annotation
    for mark in key.marks:
        declared = Annotated[declared, mark]
    if PATH in key.marks:
        return value if value == key.default else read_path(value)
    return fit_value(value, declared)


def read_path(value: Any) -> str:
    """Returns a path, of a text or a `pathlib.Path`, with `~` as the home.

    Raises:
      ValueError: where it is none, or is empty.
    """
    return os.path.expanduser(coerce_value(to_plain(value), PathText))
