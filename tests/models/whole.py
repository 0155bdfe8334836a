"""Modules built and called by one program: eagerly each of their operations is compiled alone."""

from collections.abc import Callable
from typing import Any

from flax import nnx


def built(make: Callable[[], Any]) -> Any:
    return nnx.jit(make)()


@nnx.jit
def called(module: Any, *args: Any) -> Any:
    return module(*args)
