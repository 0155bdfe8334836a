"""A component's parameters and documentation, read from its source.

What comes out is a function with the component's signature, so that `config/schema.py`, which says
what the keys of a component are, reads it as it reads the component itself.
"""

import ast
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from lepton_jax.config.source_modules import SourceModule, read_module

EMPTY = inspect.Parameter.empty


@dataclass(frozen=True)
class Definition:
    """A class or a function, as its source defines it."""

    parameters: tuple[inspect.Parameter, ...]
    documentation: str
    """The docstring of the class or the function."""
    parameters_documentation: str
    """The docstring that may say more of the parameters: a constructor's; else ''."""

    def stand_in(self) -> Callable[..., Any]:
        """Returns a function that has the signature, and cannot be called."""

        def component(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError("this is the signature of a component, not the component")

        component.__signature__ = inspect.Signature(self.parameters)  # type: ignore[attr-defined]
        component.__annotations__ = {
            p.name: p.annotation for p in self.parameters if p.annotation is not EMPTY
        }
        return component


def read_definition(module: str, name: str) -> Definition | None:
    """Reads the class or function that `name` is in a module.

    Returns None where the source does not say its parameters, as for what a call makes.
    """
    source = read_module(module)
    found = source.find(name) if source else None
    return _read(*found) if found else None


def _read(module: SourceModule, node: ast.stmt) -> Definition | None:
    match node:
        case ast.FunctionDef():
            return Definition(_parameters(module, node), ast.get_docstring(node) or "", "")
        case ast.ClassDef():
            return _read_class(module, node)
        case ast.Assign(value=ast.Name(id=other)):
            found = module.find(other)
            return _read(*found) if found else None
        case ast.Assign(value=ast.Call(args=[ast.Name(id=other)]) as call):
            if module.evaluate(call.func) is functools.partial and (found := module.find(other)):
                return _with_defaults(module, _read(*found), call)
    return None


def _with_defaults(
    module: SourceModule, definition: Definition | None, call: ast.Call
) -> Definition | None:
    """Returns what `functools.partial` makes of a definition: other defaults by keyword."""
    if definition is None:
        return None
    given = {k.arg: module.evaluate(k.value) for k in call.keywords}
    parameters: list[inspect.Parameter] = []
    for p in definition.parameters:
        by_keyword = p.name in given or (parameters and parameters[-1].kind is p.KEYWORD_ONLY)
        kind = p.KEYWORD_ONLY if by_keyword else p.kind  # as `inspect.signature` says it
        parameters.append(p.replace(kind=kind, default=given.get(p.name, p.default)))
    return replace(definition, parameters=tuple(parameters))


def _read_class(module: SourceModule, node: ast.ClassDef) -> Definition | None:
    documentation = ast.get_docstring(node) or ""
    if _is_dataclass(node):
        return Definition(tuple(_fields(module, node)), documentation, "")
    own = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    if own:
        said = ast.get_docstring(own[0]) or ""
        return Definition(_parameters(module, own[0]), documentation, said)
    bases = [_find_class(module, base) for base in node.bases]
    for base in filter(None, bases):
        if inherited := _read_class(*base):
            return replace(inherited, documentation=documentation or inherited.documentation)
    return None if node.bases else Definition((), documentation, "")


def _find_class(module: SourceModule, base: ast.expr) -> tuple[SourceModule, ast.ClassDef] | None:
    found = module.find(base.id) if isinstance(base, ast.Name) else None
    return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = (ast.unparse(d).partition("(")[0] for d in node.decorator_list)
    return any(name in ("dataclass", "dataclasses.dataclass") for name in names)


def _fields(module: SourceModule, node: ast.ClassDef) -> Iterator[inspect.Parameter]:
    """Yields the fields of a dataclass, those of its bases first, as keyword-only parameters."""
    fields: dict[str, inspect.Parameter] = {}
    for base in filter(None, (_find_class(module, b) for b in node.bases)):
        fields |= {p.name: p for p in _fields(*base)}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            annotation = _annotation(module, statement.annotation)
            if "ClassVar" not in ast.unparse(statement.annotation):
                default = EMPTY if statement.value is None else module.evaluate(statement.value)
                name = statement.target.id
                fields[name] = inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
    yield from fields.values()


def _parameters(module: SourceModule, node: ast.FunctionDef) -> tuple[inspect.Parameter, ...]:
    """Returns the parameters of a function, with annotations and defaults evaluated."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    none: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = [
        _parameter(module, a, d, kind)
        for a, d in zip(positional, [*none, *arguments.defaults], strict=True)
    ]
    found += [
        _parameter(module, a, d, inspect.Parameter.KEYWORD_ONLY)
        for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return tuple(found)


def _parameter(
    module: SourceModule, argument: ast.arg, default: ast.expr | None, kind: Any
) -> inspect.Parameter:
    return inspect.Parameter(
        argument.arg,
        kind,
        default=EMPTY if default is None else module.evaluate(default),
        annotation=_annotation(module, argument.annotation),
    )


def _annotation(module: SourceModule, annotation: ast.expr | None) -> Any:
    if annotation is None:
        return EMPTY
    value = module.evaluate(annotation)
    if isinstance(value, str):  # written as a text, since the name comes later in the file
        return module.evaluate(ast.parse(value, mode="eval").body)
    return value
