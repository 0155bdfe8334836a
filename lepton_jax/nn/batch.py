"""Types of the arrays that data, models, tasks and metrics pass on: a batch, outputs, sums."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

# B batch.

Batch = Mapping[str, jax.Array]
"""The fields of a batch by name, `[B, ...]` each: the data's, and `data.dataset.RESERVED`."""

Outputs = Mapping[str, jax.Array]
"""The outputs of a task's `predict` by name, `[B, ...]` each."""

Sums = dict[str, tuple[jax.Array, jax.Array]]
"""Means by name, each as a pair (total, weight) of scalars that are sums over the examples."""


def training_batch(batch: Batch) -> Batch:
    """Returns a raw batch as learners take it: every example counts, `mask` float32 [B] is 1."""
    return {**batch, "mask": jnp.ones(batch["position"].shape, jnp.float32)}
