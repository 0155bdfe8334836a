"""Builds and calls a module in one compiled program: eagerly each operation is compiled alone."""

from collections.abc import Callable
from typing import Any

from flax import nnx


def build_module(make: Callable[[], Any]) -> Any:
    return nnx.jit(make)()


@nnx.jit
def call_module(module: Any, *args: Any) -> Any:
    return module(*args)
