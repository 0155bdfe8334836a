"""All that a step and a model know of the devices: a sum, a neighbour's rows, and a constraint.

Imports: jax only.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")

BATCH_AXES = ("data", "fsdp")
"""The axes of a mesh over which the examples of a batch are sharded."""


def batch_sum(tree: T) -> T:
    """Sums over the shards of the batch where each device holds its own (`pmap`, `shard_map`).

    Under `jit`, also over a sharded mesh, a sum over the batch axis is already global and this is
    the identity. Used for gradients, metric sums, BatchNorm's statistics and what rows of the batch
    carry from step to step, and nowhere else.
    """
    axes = tuple(a for a in BATCH_AXES if a in jax.sharding.get_abstract_mesh().manual_axes)
    return jax.lax.psum(tree, axes) if axes else tree


def next_example(tree: T) -> T:
    """Rolls fields `[B, ...]` by one: each example gets those of the next, the last of the first.

    The order is that of the global batch, so an example's neighbour does not depend on how the
    batch is sharded. Only one example a shard is sent. With gradient accumulation the order is
    that of the microbatch.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = tuple(a for a in BATCH_AXES if a in mesh.manual_axes)
    if not axes:
        return jax.tree.map(lambda x: jnp.roll(x, -1, axis=0), tree)
    shards = 1
    for axis in axes:
        shards *= mesh.shape[axis]
    from_next = [((i + 1) % shards, i) for i in range(shards)]

    def one(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x[1:], jax.lax.ppermute(x[:1], axes, from_next)])

    return jax.tree.map(one, tree)


def shard_by_batch(x: jax.Array) -> jax.Array:
    """Constrains `x` `[B, ...]` to be sharded over its examples only; without a mesh the identity.

    Without the constraint the compiler may shard activations as the parameters are sharded, and
    gather activations instead of parameters. A model calls it where a block begins.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = tuple(a for a in BATCH_AXES if a in mesh.axis_names and mesh.shape[a] > 1)
    if not axes or mesh.manual_axes:
        return x
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(axes))
