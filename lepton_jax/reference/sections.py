"""The sections of a config: their keys, each with the sentence that follows it in the source."""

import ast
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union

from lepton_jax.config.components import TABLES, Component, component_keys
from lepton_jax.config.config import Config, OptimizerConfig
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.schema import RUNNING, Key, signature_keys, split_annotation
from lepton_jax.config.source_modules import read_module
from lepton_jax.errors import UserError, list_names
from lepton_jax.nearest import find_nearest
from lepton_jax.reference.components import describe_component
from lepton_jax.reference.description import Description, KeyDescription, describe_keys
from lepton_jax.reference.docstrings import read_docstring

ROOT = "config"
OWN = ("keys",)
"""Fields that hold another component's keys, and are no keys themselves."""


class _Section(NamedTuple):
    """A dataclass of keys, and where it stands in a config."""

    path: str
    type: type
    running: bool


def describe_section(path: str) -> Description:
    """Describes a section of the config, or one of its keys: `config`, `config.data.workers`.

    Raises:
      UserError: where there is none so called, with the nearest one.
    """
    section, names = _Section(ROOT, Config, False), path.split(".")[1:]
    while names:
        name, *names = names
        keys = signature_keys(section.type)
        if name not in keys or name in OWN:
            of_optax = section.type is OptimizerConfig and not names
            if of_optax and (own := _describe_own_key(section.path, "optimizer", name)):
                return own
            _refuse(section, name)
        inner = _open(section, name, keys[name])
        if inner is None:
            return _describe_key(section, name, names)
        section, names = inner, names[1:] if _is_named(keys[name]) else names
    return _describe(section)


def list_sections() -> list[Description]:
    """Describes every section, the whole config first."""
    return [_describe(section) for section in _walk(_Section(ROOT, Config, False))]


def _walk(section: _Section) -> Iterator[_Section]:
    yield section
    for name, key in signature_keys(section.type).items():
        if inner := _open(section, name, key):
            yield from _walk(inner)


def _describe(section: _Section) -> Description:
    said = read_docstring(inspect.getdoc(section.type) or "")
    inner = [f"describe {s.path}" for s in _walk(section) if s.path != section.path]
    keys = _keys_of(section)
    return Description(section.path, "", said.summary, said.details, keys, more=tuple(inner))


def _describe_key(section: _Section, name: str, further: Sequence[str]) -> Description:
    """Describes one key. What stands further down is for a component to say."""
    key = signature_keys(section.type)[name]
    found = next(k for k in _keys_of(section) if k.name == name)
    kind = _kind_of(key)
    if further and (not kind or key.annotation is Pipeline):
        raise UserError(
            f"{section.path}.{name} is {found.type}; it has no key {'.'.join(further)!r}"
        )
    own = further[1:] if _is_named(key) else further
    if kind and own and own != ["name"]:
        path = ".".join([section.path, name, *further[: -len(own)]])
        described = _describe_own_key(path, kind, ".".join(own))
        return described or _refuse_own_key(path, kind, ".".join(own))
    words = kind.replace(" ", "_")
    more = (f"list {words}", f"describe {words} NAME") if kind else ()
    return Description(f"{section.path}.{name}", "", "", "", (found,), "Key", more=more)


def _describe_own_key(path: str, kind: str, name: str) -> Description | None:
    """Describes a key that some components of a kind have; None where none has it."""
    have = [c for c in TABLES[kind] if name in component_keys(kind, c)]
    if not have:
        return None
    keys = describe_component(kind, have[0]).keys
    word = kind.replace(" ", "_")
    return Description(
        f"{path}.{name}",
        "",
        f"A key of {list_names(have)}",
        "",
        tuple(key for key in keys if key.name == name),
        f"As {have[0]} has it",
        more=tuple(f"describe {word} {component}" for component in have[:3]),
    )


def _refuse_own_key(path: str, kind: str, name: str) -> typing.NoReturn:
    every = {key for component in TABLES[kind] for key in component_keys(kind, component)}
    near = find_nearest(name, sorted(every))
    raise UserError(
        f"{path}: no {kind} has a key {name!r}" + (f" (did you mean {near!r}?)" if near else ""),
        try_line=["describe", f"{path}.{near}" if near else path],
    )


def _keys_of(section: _Section) -> tuple[KeyDescription, ...]:
    keys = {k: v for k, v in signature_keys(section.type).items() if k not in OWN}
    meanings = read_field_docstrings(section.type)
    return describe_keys(keys, meanings, traced=True, running=section.running)


def _open(section: _Section, name: str, key: Key) -> _Section | None:
    """Returns the section that a key holds, with NAME where the user chooses its name."""
    running = section.running or RUNNING in key.marks
    for option in _options(key):
        if _is_named(key):
            option = typing.get_args(option)[1]
            name = f"{name}.NAME"
        if option in (Component, Pipeline):
            continue
        if dataclasses.is_dataclass(option) and isinstance(option, type):
            return _Section(f"{section.path}.{name}", option, running)
    return None


def _options(key: Key) -> list[Any]:
    """Returns the types that a key may have, but None."""
    if typing.get_origin(key.annotation) not in (Union, types.UnionType):
        return [key.annotation]
    options = (split_annotation(o).annotation for o in typing.get_args(key.annotation))
    return [o for o in options if o is not type(None)]


def _is_named(key: Key) -> bool:
    """Returns whether the user chooses the names of the sections that a key holds."""
    return typing.get_origin(key.annotation) is Mapping


def _kind_of(key: Key) -> str:
    """Returns the kind of component that a key takes; '' where it takes none."""
    marks = list(key.marks)
    if typing.get_origin(key.annotation) in (Union, types.UnionType):
        for option in typing.get_args(key.annotation):
            marks += split_annotation(option).marks
    return next((mark for mark in marks if mark in TABLES), "")


def _refuse(section: _Section, name: str) -> typing.NoReturn:
    keys = [k for k in signature_keys(section.type) if k not in OWN]
    near = find_nearest(name, keys)
    said = f" (did you mean {near!r}?)" if near else f"; there are: {', '.join(keys)}"
    again = ["describe", f"{section.path}.{near}"] if near else None
    if section.type is OptimizerConfig and not near:
        said += ", and those of the optimizer that is named"
        again = ["list", "optimizers"]
    raise UserError(f"{section.path} has no key {name!r}{said}", try_line=again)


@functools.cache
def read_field_docstrings(section: type) -> dict[str, str]:
    """Reads the sentence that follows each field of a dataclass in its source."""
    module = read_module(section.__module__)
    found = module.statements.get(section.__name__) if module else None
    sentences: dict[str, str] = {}
    before: ast.stmt | None = None
    for node in found.body if isinstance(found, ast.ClassDef) else ():
        match before, node:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(
                value=ast.Constant(value=str() as text)
            ):
                sentences[name] = " ".join(text.split())
        before = node
    return sentences
