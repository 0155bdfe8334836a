"""A config as its leaves: one walk from which everything that names, hashes or varies it is made.

walk(config) -> Leaf(('optimizer', 'learning_rate'), 0.1, {'hyper', ...}, default), ...
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lepton_jax.config.components import Component
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.schema import (
    HYPER,
    LATER,
    NEVER_OFF,
    REQUIRED,
    RUNNING,
    TRACED,
    Key,
    signature_keys,
)

LeafPath = tuple[str | int, ...]
NO_KEY = Key(Any, REQUIRED, ())


class Leaf(NamedTuple):
    """A value of a config, where it stands, and what its declaration says of it."""

    path: LeafPath
    value: Any
    marks: tuple[str, ...]
    """The marks of its key. RUNNING is added where a section above has it; HYPER is taken away
    where the number does not enter the step, see `Traced`."""
    default: Any

    @property
    def name(self) -> str:
        """Returns the path as it is written: `optimizer.learning_rate`."""
        return ".".join(map(str, self.path))

    @property
    def is_trialable(self) -> bool:
        """Returns whether trials may vary it. Zero and None are off: another program."""
        return HYPER in self.marks and (bool(self.value) or NEVER_OFF in self.marks)

    @property
    def decides_numbers(self) -> bool:
        """Returns whether it is a part of the fingerprint, see `Running` and `Later`."""
        at_default = LATER in self.marks and to_tree(self.value) == to_tree(self.default)
        return RUNNING not in self.marks and not at_default


@runtime_checkable
class Section(Protocol):
    """A section that lists its own entries, because they are more than its fields."""

    def entries(self) -> Iterator[tuple[str, Any, Key]]:
        """Yields the name, value and declaration of every entry."""
        ...

    def replace(self, values: Mapping[str, Any]) -> Any:
        """Returns the section with other values for these entries."""
        ...


def walk(
    value: Any,
    key: Key = NO_KEY,
    path: LeafPath = (),
    *,
    open_pipelines: bool = False,
) -> Iterator[Leaf]:
    """Yields the leaves of a section in the order of its keys.

    An empty mapping is a leaf, and so is a pipeline. With `open_pipelines`, a pipeline whose
    numbers trials may vary is walked instead: `('data', 'augment', 0, 'name')` and so on.
    """
    entries: Iterable[tuple[str | int, Any, Key]] | None = _entries(value, key)
    if open_pipelines and isinstance(value, Pipeline) and TRACED in key.marks:
        entries = [(i, transform, key) for i, transform in enumerate(value)]
    if not entries:
        yield Leaf(path, value, key.marks, key.default)
        return
    enters_step = TRACED in key.marks or not isinstance(value, Component)
    for name, child, child_key in entries:
        marks = child_key.marks if enters_step else tuple(m for m in child_key.marks if m != HYPER)
        if RUNNING in key.marks:
            marks += (RUNNING,)
        child_key = Key(child_key.annotation, child_key.default, marks)
        yield from walk(child, child_key, (*path, name), open_pipelines=open_pipelines)


def _entries(value: Any, key: Key = NO_KEY) -> list[tuple[Any, Any, Key]] | None:
    """Lists what a section holds, each with its name and declaration; None: no section."""
    if value is None or isinstance(value, str | int | float | tuple):
        return None
    if isinstance(value, Section):
        return list(value.entries())
    if isinstance(value, Mapping):
        item = Key(Any, REQUIRED, tuple(m for m in key.marks if m != LATER))
        return [(name, child, item) for name, child in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, Pipeline | type):
        keys = signature_keys(type(value))
        return [(name, getattr(value, name), k) for name, k in keys.items()]
    return None


def to_tree(value: Any) -> Any:
    """Turns a section or a value into nested dicts and lists, as JSON takes them."""
    if isinstance(value, Pipeline):
        return value.text
    if isinstance(value, tuple | list):
        return [to_tree(v) for v in value]
    entries = _entries(value)
    return value if entries is None else {name: to_tree(child) for name, child, _ in entries}


def replace_leaves(value: Any, leaves: Mapping[LeafPath, Any], path: LeafPath = ()) -> Any:
    """Returns the section with other values at these paths, pipelines opened."""
    if path in leaves:
        return leaves[path]
    depth = len(path)
    names = {p[depth] for p in leaves if len(p) > depth and p[:depth] == path}
    if not names:
        return value
    if isinstance(value, Pipeline):
        transforms = [replace_leaves(t, leaves, (*path, i)) for i, t in enumerate(value)]
        return Pipeline(value.text, tuple(transforms))
    children = {name: child for name, child, _ in _entries(value) or () if name in names}
    values = {name: replace_leaves(c, leaves, (*path, name)) for name, c in children.items()}
    if isinstance(value, Section):
        return value.replace(values)
    if isinstance(value, Mapping):
        return {**value, **values}
    return dataclasses.replace(value, **values)


def nest(leaves: Iterable[tuple[LeafPath, Any]]) -> dict[Any, Any]:
    """Builds the nested dict whose leaves have these paths."""
    tree: dict[Any, Any] = {}
    for path, value in leaves:
        put_at(tree, path, value)
    return tree


def get_at(tree: Any, path: LeafPath) -> Any:
    """Returns the leaf at `path` of a nest of dicts and lists."""
    for section in path:
        tree = tree[section]
    return tree


def put_at(tree: Any, path: LeafPath, value: Any) -> None:
    """Sets a leaf of a nest of dicts and lists, in place; dicts that lack are added."""
    *sections, last = path
    at: Any = tree
    for section in sections:
        at = at[int(section)] if isinstance(at, list) else at.setdefault(section, {})
    at[last] = value


def join_key(path: str, name: str) -> str:
    """Joins a section's path and the name of a key: `optimizer.learning_rate`."""
    return f"{path}.{name}" if path else str(name)


def digest_tree(tree: Mapping[str, Any]) -> str:
    """Hashes a nest of JSON values, whatever the order of its keys: twelve hex digits."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]
