"""The one reduction that a step knows of where it runs."""

from typing import TypeVar

import jax

T = TypeVar("T")


def batch_sum(tree: T) -> T:
    """Sums over the shards of the batch where each device holds its own (`pmap`, `shard_map`).

    Under `jit`, also over a sharded mesh, a sum over the batch axis is already global and this is
    the identity. Used for gradients, metric sums and BatchNorm's statistics, and nowhere else.
    """
    if "data" in jax.sharding.get_abstract_mesh().manual_axes:
        return jax.lax.psum(tree, "data")
    return tree
