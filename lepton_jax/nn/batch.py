"""Types of the arrays that data, models, tasks and metrics pass on: a batch, outputs, sums."""

from collections.abc import Mapping

import jax

# B batch.

Batch = Mapping[str, jax.Array]
"""The fields of a batch by name, `[B, ...]` each: the data's, and `data.dataset.RESERVED`."""

Outputs = Mapping[str, jax.Array]
"""The outputs of a task's `predict` by name, `[B, ...]` each."""

Sums = dict[str, tuple[jax.Array, jax.Array]]
"""Means by name, each as a pair (total, weight) of scalars that are sums over the examples."""
