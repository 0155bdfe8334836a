"""Every optimizer of the table: traced numbers, one program, groups by path."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lepton_jax.config.components import TABLES, component_keys, resolve_component
from lepton_jax.config.config import Config, OptimizerConfig
from lepton_jax.config.schema import HYPER
from lepton_jax.config.trialable import apply_hyper, hyper_of
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.training import optimizer

PARAMS = {
    "conv": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)},
    "head": {"kernel": jnp.ones((4, 2))},
}


SGD = {"name": "sgd", "learning_rate": 1.0}
BASE = {
    "model": {"name": "cnn"},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "digits"}},
    "batch_size": 1,
    "train_for": "1 steps",
}


def section(**given) -> OptimizerConfig:
    return validate_config(BASE | {"optimizer": given}).optimizer


def whole(section: OptimizerConfig) -> Config:
    """A whole config with that optimizer, from which `hyper_of` takes the numbers."""
    return dataclasses.replace(validate_config(BASE | {"optimizer": SGD}), optimizer=section)


def steps(config: OptimizerConfig, n: int = 3) -> tuple[list[np.ndarray], int]:
    """Parameters after n steps with numbers traced, and how often that was compiled."""
    traces, run = [], whole(config)

    @jax.jit
    def update(numbers, params, state):
        traces.append(1)
        tx = optimizer.build_optimizer(apply_hyper(run, numbers).optimizer, jnp.ones(()))
        grads = jax.tree.map(lambda p: 0.1 * p, params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    numbers = jax.tree.map(jnp.asarray, hyper_of(run))
    state = optimizer.build_optimizer(config, jnp.ones(())).init(PARAMS)
    params = PARAMS
    for _ in range(n):
        params, state = update(numbers, params, state)
    varied = jax.tree.map(lambda x: x * 0.5, numbers)
    update(varied, params, state)
    return jax.tree.leaves(params), len(traces)


@pytest.mark.parametrize("name", sorted(TABLES["optimizer"]))
def test_traced_numbers_give_what_optax_gives_and_compile_once(name: str):
    config = section(name=name, learning_rate=0.01)
    found, traces = steps(config)
    assert traces == 1
    tx = resolve_component("optimizer", name)(0.01)
    params, state = PARAMS, None
    state = tx.init(params)
    for _ in range(3):
        grads = jax.tree.map(lambda p: 0.1 * p, params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    for a, b in zip(found, jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_groups_scale_rates_and_freeze():
    config = section(
        name="sgd",
        learning_rate=0.5,
        groups={
            "frozen": {"pattern": "^conv", "learning_rate": 0.0},
            "slow": {"pattern": "^head", "learning_rate": 0.1},
        },
    )
    (bias, kernel, head), _ = steps(config, n=1)
    np.testing.assert_array_equal(bias, 1)
    np.testing.assert_array_equal(kernel, 1)
    np.testing.assert_allclose(head, 1 - 0.5 * 0.1 * 0.1)


def test_what_is_frozen_has_no_moments_and_does_not_decay():
    frozen = {"pattern": "^conv", "learning_rate": 0.0}
    config = section(name="adamw", learning_rate=0.1, weight_decay=0.5, groups={"frozen": frozen})
    (bias, kernel, head), _ = steps(config)
    assert bias.tobytes() == np.ones(4, np.float32).tobytes()
    assert kernel.tobytes() == np.ones((3, 4), np.float32).tobytes()
    assert np.all(head < 0.9)
    state = optimizer.build_optimizer(config, jnp.ones(())).init(PARAMS)
    assert sorted(x.shape for x in jax.tree.leaves(state) if x.ndim) == [(4, 2), (4, 2)]


def test_weight_decay_is_decoupled_where_the_optimizer_has_its_own():
    own, _ = steps(section(name="adamw", learning_rate=0.1, weight_decay=0.5), n=1)
    plain, _ = steps(section(name="adamw", learning_rate=0.1, weight_decay=0.0), n=1)
    np.testing.assert_allclose(plain[0] - own[0], 0.1 * 0.5, rtol=1e-5)
    coupled, _ = steps(section(name="sgd", learning_rate=0.1, weight_decay=0.5), n=1)
    np.testing.assert_allclose(coupled[0], 1 - 0.1 * (0.1 + 0.5), rtol=1e-6)


def test_clipping_is_by_the_global_norm():
    clipped, _ = steps(section(name="sgd", learning_rate=1.0, clip_norm=0.01), n=1)
    moved = [1 - x for x in clipped]
    assert np.sqrt(sum(np.sum(np.square(m)) for m in moved)) == pytest.approx(0.01, rel=1e-4)


def test_a_pattern_that_matches_nothing_or_two_groups_is_refused():
    config = section(name="sgd", learning_rate=1.0, groups={"g": {"pattern": "^cov"}})
    with pytest.raises(UserError, match="matches no parameter"):
        optimizer.label_groups(config, PARAMS)
    both = {"a": {"pattern": "conv"}, "b": {"pattern": "bias"}}
    config = section(name="sgd", learning_rate=1.0, groups=both)
    with pytest.raises(UserError, match=r"matches two of optimizer\.groups: a, b"):
        optimizer.label_groups(config, PARAMS)


def test_momentum_of_sgd_is_a_key_that_trials_may_vary():
    keys = component_keys("optimizer", "sgd")
    assert keys["momentum"].default is None
    assert HYPER in keys["momentum"].marks
    assert "muon_weight_dimension_numbers" not in component_keys("optimizer", "muon")
