"""Values as plain Python: what numpy, JAX, pathlib and a class stand for, as a record holds it.

Imports: the standard library only.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType
from typing import Any


def to_plain(value: Any) -> Any:
    """Turns arrays, scalars of numpy and JAX, paths, classes and nests of them into plain Python.

    Arrays become lists, and scalars of any precision int, float or bool. A class or a function
    becomes its name, 'my_pkg.module:Name', if it can be found by it. Anything else stays, for the
    schema to judge.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    ml_collections: Any = sys.modules.get("ml_collections")  # there, if the value is of it
    if ml_collections and isinstance(value, ml_collections.FieldReference):
        return to_plain(value.get())
    if isinstance(value, Mapping) or (
        ml_collections and isinstance(value, ml_collections.ConfigDict)
    ):
        return {str(name): to_plain(child) for name, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(to_plain(v) for v in value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type | FunctionType):
        return name_component(value) or value
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def name_component(component: type | FunctionType) -> str:
    """Returns 'my_pkg.module:Name' of a class or a function; '' where it is not found by a name.

    It is '__main__:Name' of one that a notebook or the program itself defines. A module that is
    private to its package (`optax._src.alias`) is not named where the package has the name too.
    """
    module, name = component.__module__, component.__qualname__
    if module == "builtins":
        return ""  # `object` is no component, and no path either
    parts = module.split(".")
    above = [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
    private = any(part.startswith("_") and part != "__main__" for part in parts)
    for where in above if private else [module]:
        if getattr(sys.modules.get(where), name, None) is component and _is_module_name(where):
            return f"{where}:{name}"
    return ""


def _is_module_name(name: str) -> bool:
    """Tells whether Python's `import` takes a name; a config file's module has none."""
    return all(part.isidentifier() for part in name.split("."))


def list_items(value: Any) -> Sequence[Any]:
    """Returns the items of a list, and of anything that is one item itself a list of it.

    A text, bytes, a path and an array are one item.
    """
    one = str | bytes | os.PathLike | Mapping
    if isinstance(value, one) or hasattr(value, "dtype") or not isinstance(value, Iterable):
        return [value]
    return list(value)
