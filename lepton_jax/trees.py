"""Flattens nested dicts and pytrees into flat dicts whose keys are paths.

Imports jax where a pytree is given, as commands that read records do not load it.
"""

from collections.abc import Mapping
from typing import Any


def flatten_dict(tree: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Flattens nested dicts: `{'a': {'b': 1}}` becomes `{'a.b': 1}`, in the order of the keys.

    Anything that is not a mapping is a leaf, and so is an empty one.
    """
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            below = flatten_dict(value, separator)
            leaves |= {f"{key}{separator}{path}": leaf for path, leaf in below.items()}
        else:
            leaves[str(key)] = value
    return leaves


def path_name(path: Any) -> str:
    """Joins the path of a leaf in a pytree with dots: `conv1.kernel`, `blocks.0.scale`."""
    import jax

    return jax.tree_util.keystr(path, simple=True, separator=".")


def flatten_tree(tree: Any) -> dict[str, Any]:
    """Flattens a pytree as checkpoints store it: `{'learner.params.conv1.kernel': leaf}`."""
    import jax

    return {path_name(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten_tree(leaves: Mapping[str, Any], like: Any) -> Any:
    """Builds a pytree with the structure of `like` from the flat dict that `flatten_tree` returns.

    Raises:
      KeyError: when a leaf of `like` is not in `leaves`.
    """
    import jax

    paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree_util.tree_unflatten(treedef, [leaves[path_name(p)] for p, _ in paths])
