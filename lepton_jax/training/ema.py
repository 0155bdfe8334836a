"""The moving average of the parameters: how much of it a step keeps."""

from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import is_off


def decay_at(decay: Any, step: jax.Array) -> Any:
    """Returns the decay of the average in the step that follows `step` steps, int32 [].

    It is the smaller of `decay` and (1 + step) / (10 + step), as in TensorFlow's
    ExponentialMovingAverage and timm. With `decay` alone the average of t steps is still the
    initial weights for the share decay^t: 97 % after 300 steps with 0.9999. With the smaller one
    that share is 1 / C(t + 9, 9): 1e-5 after 10 steps.
    """
    if is_off(decay):
        return decay
    count = step.astype(jnp.result_type(decay))
    return jnp.minimum(decay, (1 + count) / (10 + count))
