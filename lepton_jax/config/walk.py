"""A tree of mappings as its leaves, each under its dotted path."""

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`('optimizer.learning_rate', 0.1)` and so on, in order."""
    for key, value in tree.items():
        path = join_path(prefix, key)
        if isinstance(value, Mapping) and value:
            yield from flatten(value, path)
        else:
            yield path, value


def join_path(path: str, name: str) -> str:
    return f"{path}.{name}" if path else str(name)
