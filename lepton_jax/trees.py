from collections.abc import Mapping
from typing import Any

import jax


def path_name(path: Any) -> str:
    """A tree path as people write it: `conv1.kernel`, `blocks.0.scale`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def flatten_tree(tree: Any) -> dict[str, Any]:
    """`{'learner.params.conv1.kernel': leaf}`: the form in which checkpoints are stored."""
    return {path_name(p): leaf for p, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def unflatten_tree(leaves: Mapping[str, Any], like: Any) -> Any:
    """The pytree `like`, with the leaves of `flatten_tree`'s form in their places."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree_util.tree_unflatten(treedef, [leaves[path_name(p)] for p, _ in paths])
