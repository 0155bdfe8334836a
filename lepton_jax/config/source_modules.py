"""Python modules as their files say them: names are looked up and evaluated, nothing is run.

Imports: the standard library, and of this package only what imports no JAX.
"""

import ast
import builtins
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

LIGHT = ("lepton_jax.config", "lepton_jax.errors")
"""Modules of this package that are imported, as they import no JAX."""

KNOWN_TYPES = {"jax.typing.ArrayLike": float}
"""What optax annotates its numbers with."""


class NamedOnly:
    """A type, or a value, that would have to be imported: it is known by its name alone."""

    def __init__(self, name: str):
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        longer = f"{self.__name__}.{name}"
        return KNOWN_TYPES.get(longer) or NamedOnly(longer)

    def __call__(self, *args: Any, **kwargs: Any) -> "NamedOnly":
        return NamedOnly(f"{self.__name__}(...)")

    def __getitem__(self, key: Any) -> "NamedOnly":
        return self

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007  one of the two is no type

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007

    def __repr__(self) -> str:
        return self.__name__


@dataclass(frozen=True, eq=False)
class SourceModule:
    """A module's file, and the statement that gives each of its names."""

    name: str
    path: Path
    statements: dict[str, ast.stmt]

    def find(self, name: str) -> "tuple[SourceModule, ast.stmt] | None":
        """Finds where a name is defined, in this module or in the one that it is imported from."""
        statement = self.statements.get(name)
        if not isinstance(statement, ast.ImportFrom):
            return None if statement is None else (self, statement)
        module = read_module(_absolute_name(self, statement))
        if module is None or module is self:  # a package that imports a module of its own
            return None
        return module.find(_original_name(statement, name))

    def evaluate(self, expression: ast.expr) -> Any:
        """Evaluates an annotation or a default. What cannot be known is a `NamedOnly`."""
        code = compile(ast.Expression(expression), str(self.path), "eval")
        try:
            return eval(code, {"__builtins__": {}}, _Names(self))
        except Exception:  # noqa: BLE001  whatever an expression raises that holds a stand-in
            return NamedOnly(ast.unparse(expression))

    def value_of(self, name: str) -> Any:
        """Returns what a name of this module stands for, as `evaluate` does."""
        statement = self.statements.get(name)
        match statement:
            case None:
                return vars(builtins).get(name, NamedOnly(name))
            case ast.Import():
                return _import_light(_original_name(statement, name))
            case ast.ImportFrom():
                return self._imported(statement, name)
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                return self.evaluate(value)
        return NamedOnly(name)

    def _imported(self, statement: ast.ImportFrom, name: str) -> Any:
        source, original = _absolute_name(self, statement), _original_name(statement, name)
        if _is_light(source):
            return getattr(importlib.import_module(source), original, NamedOnly(name))
        module = read_module(source)
        return module.value_of(original) if module else NamedOnly(f"{source}.{original}")


class _Names(dict[str, Any]):
    """The names that an expression of a module may use."""

    def __init__(self, module: SourceModule):
        super().__init__()
        self.module = module

    def __missing__(self, name: str) -> Any:
        return self.module.value_of(name)


@functools.cache
def read_module(name: str) -> SourceModule | None:
    """Reads the file of a module, which is looked for as Python does; None where there is none."""
    path = find_file(name)
    if path is None:
        return None
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    return SourceModule(name, path, dict(_names_of(tree.body)))


def find_file(name: str) -> Path | None:
    """Finds the file of a module without importing the packages around it; None: there is none."""
    top, *below = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):  # of `__main__`, and of what is no name
        return None
    if spec is None:
        return None
    if not below:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or ():
        stem = Path(folder, *below)
        for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


def _names_of(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yields each name that statements define, and the statement; a later one counts."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                yield node.name, node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    yield alias.asname or alias.name.partition(".")[0], node
            case ast.If() | ast.Try():
                yield from _names_of(node.body)
                yield from _names_of(node.orelse)


def _absolute_name(module: SourceModule, statement: ast.ImportFrom) -> str:
    """Returns the module that a statement imports from, by its dotted name."""
    if not statement.level:
        return statement.module or ""
    parts = module.name.split(".")
    depth = statement.level - (module.path.name == "__init__.py")
    return ".".join([*parts[: len(parts) - depth], *filter(None, [statement.module])])


def _original_name(statement: ast.Import | ast.ImportFrom, name: str) -> str:
    for alias in statement.names:
        if alias.asname == name:
            return alias.name
    return name


def _is_light(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names or module.startswith(LIGHT)


def _import_light(module: str) -> Any:
    return importlib.import_module(module) if _is_light(module) else NamedOnly(module)
