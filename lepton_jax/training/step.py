"""The step of a run: its state after one more batch."""

import jax.numpy as jnp

from lepton_jax.nn.batch import Batch


def training_batch(batch: Batch) -> Batch:
    """A raw batch as learners take it: in training every example counts."""
    return {**batch, "mask": jnp.ones(batch["position"].shape, jnp.float32)}
