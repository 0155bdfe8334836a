"""All that a step and a model know of where they run: one reduction, and one statement.

Imports: jax only.
"""

from typing import TypeVar

import jax

T = TypeVar("T")

BATCH_AXES = ("data", "fsdp")
"""The axes of a mesh over which the examples of a batch are spread."""


def batch_sum(tree: T) -> T:
    """Sums over the shards of the batch where each device holds its own (`pmap`, `shard_map`).

    Under `jit`, also over a sharded mesh, a sum over the batch axis is already global and this is
    the identity. Used for gradients, metric sums and BatchNorm's statistics, and nowhere else.
    """
    axes = tuple(a for a in BATCH_AXES if a in jax.sharding.get_abstract_mesh().manual_axes)
    return jax.lax.psum(tree, axes) if axes else tree


def by_batch(x: jax.Array) -> jax.Array:
    """States that `x` `[B, ...]` is spread over examples and nothing else; the identity elsewhere.

    Without it the compiler of a sharded mesh may carry activations spread as the parameters are,
    and gather them instead of the parameters. A model says it where a block begins.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = tuple(a for a in BATCH_AXES if a in mesh.axis_names and mesh.shape[a] > 1)
    if not axes or mesh.manual_axes:
        return x
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(axes))
