"""What the core of training promises: durations in steps, microbatches that add up, means."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.training import build
from lepton_jax.training.accumulate import accumulate
from lepton_jax.training.durations import Durations
from lepton_jax.training.load_data import load_data
from lepton_jax.training.step import TrainingStep

CONFIG: dict[str, Any] = {
    "model": {"name": "mlp", "features": (8,)},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "digits"}, "prepare": "scale()"},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "batch_size": 32,
    "train_for": "2 epochs",
}


def durations(examples: int, **schedule: str) -> Durations:
    section = {"schedule": {"name": "cosine", **schedule}} if schedule else {}
    return Durations(validate_config(CONFIG | section), examples)


def test_an_epoch_need_not_be_a_whole_number_of_steps():
    counted = durations(1000)
    assert counted.period("1 epochs") == 31.25
    assert counted.period("48 examples") == 1.5
    assert counted.period("7 steps") == 7
    assert counted.total_steps == 62  # 62.5, and Python rounds half to even


def test_a_duration_is_at_least_one_step_but_for_zero():
    counted = durations(10)
    assert counted.steps("1 examples") == 1
    assert counted.steps("0 steps") == 0


def test_a_schedule_longer_than_the_run_is_told():
    with pytest.raises(UserError, match=r"schedule.warmup = '100 steps' is 100 steps: longer than"):
        durations(1000, warmup="100 steps")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_microbatches_add_up_to_the_whole_batch_and_hand_on_in_order(count: int):
    x = np.arange(8.0)

    def gradient(kept, batch):
        part = batch["x"]
        return part.sum(), {"loss": (part.sum(), jnp.float32(len(part)))}, kept * 10 + part[0]

    whole = {"x": jnp.asarray(x)}
    summed, sums, kept = jax.jit(lambda: accumulate(gradient, count, whole, jnp.zeros(())))()
    assert summed == 28
    assert (sums["loss"][0], sums["loss"][1]) == (28, 8)
    # Microbatch a begins with example a.
    assert kept == float("".join(str(a) for a in range(count)))


def test_means_are_totals_over_weights_and_zero_where_nothing_was_counted():
    step: Any = SimpleNamespace(sum_names=("accuracy", "loss"))
    means = TrainingStep.means(step, [[3.0, 0.0], [4.0, 0.0]])
    assert means == {"train/accuracy": 0.75, "train/loss": 0.0}


def test_the_names_of_sums_are_those_of_a_step_though_only_the_loss_was_traced():
    config = validate_config(CONFIG)
    program = build.build_program(config, load_data(config))
    training = program.training
    batch = {
        name: jnp.zeros((32, *f.shape), f.dtype) for name, f in program.spec.fields.items()
    } | {"position": jnp.arange(32)}
    learner, tools = training.learner(training.init(jnp.uint32(0), training.hyper()))
    state = training.init(jnp.uint32(0), training.hyper())
    _, sums = jax.eval_shape(
        lambda s, b: learner.update(tools, s.learner, b | {"mask": jnp.ones(32)}), state, batch
    )
    assert training.sum_names == tuple(sorted([*sums, "learning_rate"]))
    assert training.empty_sums().values.shape == (2, len(training.sum_names))
