"""The rate that a schedule gives at a step."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config.components import Component
from lepton_jax.training.schedules import build_schedule


def test_rates_are_as_precise_as_the_computation():
    durations = SimpleNamespace(total_steps=20, steps=lambda duration: 0)
    component = Component("schedule", "one_cycle", {"peak_at": 0.25, "start": 0.1, "end": 0.0})
    with jax.enable_x64(True):
        schedule = jax.jit(build_schedule(component, durations))
        rates = [schedule(jnp.asarray(step, jnp.int32)) for step in range(20)]
    wanted = np.interp(np.arange(20), [0, 5, 20], [0.1, 1.0, 0.0])
    np.testing.assert_allclose(rates, wanted, rtol=1e-14, atol=0)
