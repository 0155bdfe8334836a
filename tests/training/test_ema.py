"""What is evaluated where it is not what trains: moving averages, and optimizers that say so."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import schedule_free_eval_params, schedule_free_sgd
from safetensors.numpy import load_file

import lepton_jax
from lepton_jax import api
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.training import build, optimizer, saved
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.ema import decay_at
from lepton_jax.training.load_data import load_data
from lepton_jax.training.runtime import runtime
from tests.training.test_learner import CONFIG
from tests.training.test_optimizer import PARAMS, section

SCHEDULE_FREE = "optax.contrib:schedule_free_sgd"


def anchored(learning_rate: Any, *, pull: float = 0.5) -> optax.GradientTransformation:
    """An optimizer that is evaluated halfway between the parameters and where they began."""
    sgd = optax.sgd(learning_rate)
    return optax.GradientTransformation(
        lambda params: (sgd.init(params), params),
        lambda g, state, params=None: (sgd.update(g, state[0])[0], state),
    )


anchored.evaluation_params = lambda state, params: jax.tree.map(  # type: ignore[attr-defined]
    lambda a, p: (a + p) / 2, state[1], params
)


def trained(steps: int, **changes: Any) -> tuple[list[Any], list[Any]]:
    """The kernels that train and those that are evaluated, before the first and after each step."""
    config = validate_config({**CONFIG, **changes})
    with runtime("float64"):
        data = load_data(config)
        training = build.build_program(config, data).training
        columns = data.splits["train"].rows(np.arange(config.batch_size))
        columns["image"] = (columns["image"] / 255).astype(np.float64)
        batch = {**columns, "position": np.arange(config.batch_size, dtype=np.int32)}
        state, step = training.init(jnp.uint32(0), training.hyper()), jax.jit(training.step)
        states = [state]
        for _ in range(steps):
            states.append(step(states[-1], training.empty_sums(), batch)[0])
        kernels = [np.asarray(s.learner.params["head"]["kernel"]) for s in states]
        evaluated = [np.asarray(training.variables(s)[0]["head"]["kernel"]) for s in states]
    return kernels, evaluated


@pytest.mark.parametrize("ema", [0.9999, 0.3])
def test_the_average_is_of_the_steps_taken_and_not_of_the_initial_weights(ema: float):
    kernels, evaluated = trained(12, ema=ema)
    weights = np.array([1.0])  # of the kernels so far in the average, by hand
    for t, average in enumerate(evaluated):
        expected = sum(w * k for w, k in zip(weights, kernels[: t + 1], strict=True))
        np.testing.assert_allclose(average, expected, rtol=1e-12)
        decay = min(ema, (1 + t) / (10 + t))
        weights = np.append(weights * decay, 1 - decay)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] < 1e-4


@pytest.mark.parametrize("steps", [0, 1, 8, 9, 80, 100_000])
@pytest.mark.parametrize("ema", [0.1, 0.9, 0.9999])
def test_the_decay_of_a_step_is_at_most_the_configs(ema: float, steps: int):
    found = decay_at(jnp.float32(ema), jnp.int32(steps))
    assert float(found) == pytest.approx(min(ema, (1 + steps) / (10 + steps)), rel=1e-6)
    assert decay_at(0.0, jnp.int32(steps)) == 0.0


def test_a_schedule_free_run_is_evaluated_at_the_average_of_its_steps():
    keys = {"name": SCHEDULE_FREE, "learning_rate": 0.3, "b1": 0.9}
    kernels, evaluated = trained(5, optimizer=keys)
    assert np.abs(kernels[-1] - evaluated[-1]).max() > 1e-3
    # Defazio et al. 2024: y = b1 x + (1 - b1) z; x is the mean of z_1 ... z_t at a constant rate.
    z = [(y - 0.9 * x) / 0.1 for y, x in zip(kernels, evaluated, strict=True)]
    for t in range(1, 6):
        np.testing.assert_allclose(evaluated[t], np.mean(z[1 : t + 1], axis=0), 1e-4, 1e-7)


def test_an_average_is_of_the_parameters_that_are_evaluated():
    keys = {"name": f"{__name__}:anchored", "learning_rate": 0.3}
    kernels, evaluated = trained(4, optimizer=keys, ema=0.999)
    average = halfway = kernels[0]
    for t, k in enumerate(kernels[1:]):
        halfway = (kernels[0] + k) / 2
        average = average + (1 - (1 + t) / (10 + t)) * (halfway - average)
        np.testing.assert_allclose(evaluated[t + 1], average, rtol=1e-12)


GROUPS = {"g": {"pattern": "^head", "learning_rate": 0.1}}
FROZEN = {"g": {"pattern": "^head", "learning_rate": 0.0}}


@pytest.mark.parametrize(
    "keys",
    [{}, {"groups": FROZEN}, {"clip_norm": 1.0, "groups": GROUPS, "weight_decay": 0.1}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", [SCHEDULE_FREE, f"{__name__}:anchored"])
def test_the_parameters_to_evaluate_are_found_wherever_optax_nests_the_state(
    name: str, keys: dict[str, Any]
):
    config = section(name=name, learning_rate=0.5, **keys)
    tx = optimizer.build_optimizer(config, jnp.ones(()))
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(3):
        updates, state = tx.update(jax.tree.map(lambda p: 0.1 * p, params), state, params)
        params = optax.apply_updates(params, updates)
    found = optimizer.evaluation_params(config, state, params)
    assert jax.tree.structure(found) == jax.tree.structure(PARAMS)
    frozen = keys.get("groups") == FROZEN
    for path, moved in jax.tree_util.tree_leaves_with_path(found):
        k, g = (key.key for key in path)
        if frozen and k == "head":
            np.testing.assert_array_equal(moved, PARAMS[k][g])
        elif name != SCHEDULE_FREE:
            np.testing.assert_allclose(moved, (PARAMS[k][g] + params[k][g]) / 2, rtol=1e-6)
        else:
            assert np.abs(moved - params[k][g]).max() > 1e-4


def test_schedule_free_without_groups_is_what_optax_evaluates():
    config = section(name=SCHEDULE_FREE, learning_rate=0.5)
    tx, plain = optimizer.build_optimizer(config, jnp.ones(())), schedule_free_sgd(0.5)
    state, of_optax = tx.init(PARAMS), plain.init(PARAMS)
    grads = jax.tree.map(lambda p: 0.1 * p, PARAMS)
    updates, state = tx.update(grads, state, PARAMS)
    other, of_optax = plain.update(grads, of_optax, PARAMS)
    found = optimizer.evaluation_params(config, state, optax.apply_updates(PARAMS, updates))
    expected = schedule_free_eval_params(of_optax, optax.apply_updates(PARAMS, other))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arrays", "elsewhere"),
    [
        (SCHEDULE_FREE, ["params.a", "optimizer.max_lr", "optimizer.z.a"], True),
        (SCHEDULE_FREE, ["optimizer.1.inner_states.g.inner_state.max_lr"], True),
        (f"{__name__}:anchored", ["params.a"], True),
        ("adam", ["params.max_lr", "optimizer.0.mu.max_lr_head", "optimizer.0.count"], False),
    ],
)
def test_a_checkpoint_tells_whether_its_parameters_are_those_to_evaluate(
    name: str, arrays: list[str], elsewhere: bool
):
    assert optimizer.evaluates_elsewhere(section(name=name, learning_rate=0.1), arrays) == elsewhere


@pytest.mark.slow
def test_a_schedule_free_run_is_recorded_exported_and_taken_over_at_its_average(tmp_path: Path):
    config = {
        **CONFIG, "precision": "float32", "train_for": "20 steps", "writers": {},
        "optimizer": {"name": "optax.contrib:schedule_free_adamw", "learning_rate": 1e-2},
    }  # fmt: skip
    workdir, bundle = str(tmp_path / "run"), str(tmp_path / "bundle")
    lepton_jax.train(config, workdir)
    run = saved.load_run(workdir)
    trained = Checkpoints(workdir).arrays(run.step, "state.learner.params.")["head.kernel"]
    assert np.abs(run.weights["head.kernel"] - trained).max() > 1e-3
    recorded = [row for row in run.record.rows() if row["step"] == run.step and "valid/loss" in row]
    measured = api.evaluate(workdir, split="valid").results["loss"]
    assert measured == pytest.approx(recorded[-1]["valid/loss"], rel=1e-5)
    with pytest.raises(UserError, match=r"export the run .* and give the bundle"):
        lepton_jax.train({**config, "init_from": workdir}, str(tmp_path / "other"))
    api.export(workdir, bundle)
    exported = load_file(f"{bundle}/weights.safetensors")["head.kernel"]
    np.testing.assert_array_equal(exported, run.weights["head.kernel"])
    lepton_jax.train({**config, "init_from": bundle}, str(tmp_path / "other"))


@pytest.mark.slow
def test_an_average_over_few_steps_answers_as_well_as_the_last_one(tmp_path: Path):
    accuracy = {}
    for ema in (0.0, 0.9999):
        config = {
            **CONFIG, "precision": "float32", "train_for": "300 steps", "writers": {}, "ema": ema,
            "model": {"name": "mlp", "features": (16,)},
            "optimizer": {"name": "adamw", "learning_rate": 1e-3},
            "data": {"source": {"name": "generated_images"}, "prepare": "scale()"},
        }  # fmt: skip
        run = lepton_jax.train(config, str(tmp_path / str(ema)))
        accuracy[ema] = run.results["test"]["accuracy"]
    assert accuracy[0.9999] > accuracy[0.0] - 0.1
