"""The training step as pure functions: the first state, one more batch, and what a step adds up.

`layout.py` says on which devices they run.
"""

import dataclasses
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config.trialable import hyper_of
from lepton_jax.errors import UserError
from lepton_jax.nn.batch import Batch, training_batch
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.tasks.task import carries_state, check_optional
from lepton_jax.training import optimizer, schedules
from lepton_jax.training.abstract_step import trace_step
from lepton_jax.training.durations import Durations
from lepton_jax.training.ema import decay_at
from lepton_jax.training.learner import HasBeside, Learner, Tools
from lepton_jax.training.lora import Adapters
from lepton_jax.training.parts import HyperTree, Parts
from lepton_jax.training.state import State, Totals
from lepton_jax.training.supervised import Supervised


class TrainingStep:
    """The step of a config: `init` gives the first state, `step` the state after one more batch.

    Numbers that trials may vary are read from the state.

    Raises:
      UserError: when the parts of the config do not fit each other, or the task's loss is no sums.
    """

    def __init__(self, parts: Parts, durations: Durations):
        config, task = parts.config, parts.task()
        check_optional(config.task.name, task, Learner, "update")
        if carries_state(task) and config.data.order != "contiguous":
            raise UserError(
                f"task.carry = True: a row of the batch carries its state to the next step; "
                f"data.order = {config.data.order!r} gives it another text; expected 'contiguous'"
            )
        if config.lora and isinstance(task, Learner):
            raise UserError("lora needs a task with one model; this task defines its own step")
        self._config, self._parts = config, parts
        self._schedule = schedules.build_schedule(config.schedule, durations)
        self.traced = trace_step(parts, self._init, self.learner, self.hyper())
        """What an abstract first step shows."""
        self.sum_names = self.traced.sum_names
        """Names of what a step adds up, in the order of `Totals.values`."""

    def init(self, seed: jax.Array, hyper: Any) -> State:
        """Returns the state before the first step. `seed`: uint32 []; `hyper`: `self.hyper()`."""
        return self._init(seed, hyper)

    def _init(self, seed: jax.Array, hyper: Any, **tools_of_ones_own: Any) -> State:
        zero = jnp.zeros((), jnp.int32)
        key = jax.random.key(seed, impl="threefry2x32")
        tools = dataclasses.replace(self._tools(hyper, seed, zero), **tools_of_ones_own)
        learner = self._learner(hyper).init(tools, key)
        if self._parts.dtype == jnp.float64:
            learner = self._parts.cast(learner)
        return State(zero, seed, jnp.full((), -1, jnp.int32), hyper, learner)

    def step(self, state: State, sums: Totals, batch: Batch) -> tuple[State, Totals]:
        """Takes one step on a raw batch: fields `[B, ...]` and `position` int32 [B], the index of
        each example in the whole batch. Returns the next state, and `sums` with the step's added.

        From the first step with non-finite values on, the state no longer changes: no checkpoint
        holds them, however late the host looks.
        """
        learner, values = self.update(state, batch)
        finite = jnp.isfinite(values).all()
        good = finite & (state.bad_step < 0)
        learner = jax.tree.map(lambda new, old: jnp.where(good, new, old), learner, state.learner)
        bad_step = jnp.where(finite | (state.bad_step >= 0), state.bad_step, state.step)
        step = state.step + good.astype(jnp.int32)
        added = sums.values + jnp.where(good, values, 0)
        return State(step, state.seed, bad_step, state.hyper, learner), Totals(added, bad_step)

    def update(self, state: State, batch: Batch) -> tuple[Any, jax.Array]:
        """Returns a step's new learner state and its sums [2, N], be they finite or not."""
        learner, tools = self.learner(state)
        learner_state, sums = self._parts.explained(
            lambda: learner.update(tools, state.learner, training_batch(batch))
        )
        rate = state.hyper["optimizer"]["learning_rate"] * self._schedule(state.step)
        sums = {**sums, "learning_rate": (rate, jnp.ones(()))}
        totals, weights = zip(*(sums[name] for name in sorted(sums)), strict=True)
        return learner_state, jnp.stack(
            [jnp.stack([x.astype(self._sum_dtype) for x in t]) for t in (totals, weights)]
        )

    def learner(self, state: State) -> tuple[Learner, Tools]:
        """Returns the learner that takes the step of a state, and the tools for it."""
        return self._learner(state.hyper), self._tools(state.hyper, state.seed, state.step)

    def variables(self, state: State) -> tuple[Any, Any]:
        """Returns `(params, rest)` of the model that is evaluated and exported."""
        return self._learner(state.hyper).variables(state.learner)

    @property
    def beside(self) -> tuple[str, ...]:
        """The parts of the learner's state that are optimizer state or averages."""
        learner = self._learner(hyper_of(self._config))
        return tuple(learner.beside) if isinstance(learner, HasBeside) else ()

    def hyper(self) -> Any:
        """Returns this config's numbers that trials may vary, as arrays on the host."""
        dtype = jnp.float64 if self._parts.dtype == jnp.float64 else jnp.float32
        return jax.tree.map(lambda x: jnp.asarray(x, dtype), hyper_of(self._config))

    def abstract_state(self) -> State:
        """Returns the shapes and dtypes of the state."""
        return self.traced.state

    def empty_sums(self) -> Totals:
        """Returns the sums of no step."""
        zeros = jnp.zeros((2, len(self.sum_names)), self._sum_dtype)
        return Totals(zeros, jnp.full((), -1, jnp.int32))

    def means(self, values: Any) -> dict[str, float]:
        """Divides sums [2, N] by their weights: `{'train/loss': 0.4, ...}`; 0 of no weight."""
        totals, weights = np.asarray(values)
        means = np.divide(totals, weights, out=np.zeros_like(totals), where=weights != 0)
        return {f"train/{n}": m.item() for n, m in zip(self.sum_names, means, strict=True)}

    @cached_property
    def _sum_dtype(self) -> Any:
        return jnp.promote_types(self._parts.dtype, jnp.float32)

    def _learner(self, hyper: HyperTree) -> Learner:
        task = self._parts.task(hyper)
        if isinstance(task, Learner):
            return task
        config = self._parts.trial_config(hyper)
        adapters = Adapters(config.lora, self._parts.functional.params) if config.lora else None
        return Supervised(task, adapters, partial(optimizer.evaluation_params, config.optimizer))

    def _tools(self, hyper: HyperTree, seed: jax.Array, step: jax.Array) -> Tools:
        parts, config = self._parts, self._parts.trial_config(hyper)
        make = parts.make_model(hyper)

        def noise(batch: Batch) -> Noise:
            return Noise(example_keys(seed, step, batch["position"]))

        def augment(batch: Batch, noise: Noise) -> Batch:
            return parts.prepare(parts.augment(hyper, batch, noise))

        return Tools(
            model=parts.functional,
            init_model=lambda key: parts.functional.init(key, make),
            optimizer=optimizer.build_optimizer(config.optimizer, self._schedule(step)),
            ema=decay_at(config.ema, step),
            accumulate=config.accumulate,
            batch_size=config.batch_size,
            cast=parts.cast,
            noise=noise,
            augment=augment,
        )
