"""What passes between data, models, tasks and metrics: arrays of a batch, and sums of them."""

from collections.abc import Mapping

import jax

# B batch.

Batch = Mapping[str, jax.Array]
"""The fields of a batch by name, `[B, ...]` each; `data.dataset.RESERVED` says which are added to
those of the data.
"""

Outputs = Mapping[str, jax.Array]
"""What a task's `predict` gives, by name, `[B, ...]` each."""

Sums = dict[str, tuple[jax.Array, jax.Array]]
"""Named means as pairs (total, weight) of scalars, each summed over the examples; never means."""
