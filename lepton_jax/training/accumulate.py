"""The gradient of a batch, added up over its microbatches."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.nn.batch import Batch, Sums

Kept = tuple[Any, Any]
"""What a microbatch hands to the next one: `(rest, carried)` as in `supervised.Fit`."""


def accumulate(
    gradient: Callable[[Kept, Batch], tuple[Any, Sums, Kept]], count: int, batch: Batch, kept: Kept
) -> tuple[Any, Sums, Kept]:
    """Adds up `gradient(kept, microbatch)` over `count` microbatches, one after the other.

    Returns the summed gradients, the summed sums, and what the last microbatch hands on.
    Microbatch a holds the examples a, a + A, a + 2A ... of A = `count`: each shard of a sharded
    batch keeps its own.
    """
    if count == 1:
        return gradient(kept, batch)
    slices = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), dict(batch))
    first = jax.tree.map(lambda x: x[0], slices)
    grads, sums, kept = gradient(kept, first)

    def add(carry: Any, part: Batch) -> tuple[Any, None]:
        total, kept = carry
        grads, sums, kept = gradient(kept, part)
        return (jax.tree.map(jnp.add, total, (grads, sums)), kept), None

    others = jax.tree.map(lambda x: x[1:], slices)

    def scan(carry: Any, parts: Any, unroll: bool = False) -> Any:
        return jax.lax.scan(add, carry, parts, unroll=unroll)[0]

    # A rolled loop keeps memory and compile time flat; XLA's CPU convolutions crawl inside one.
    # What counts is what the step is compiled for: `plan` compiles for TPUs on a CPU.
    (grads, sums), kept = jax.lax.platform_dependent(
        ((grads, sums), kept), others, cpu=partial(scan, unroll=True), default=scan
    )
    return grads, sums, kept
