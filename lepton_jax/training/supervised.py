"""The learner of almost every run: gradient descent on the mean of the task's loss."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import is_off
from lepton_jax.nn.batch import Batch, Sums
from lepton_jax.nn.collectives import batch_sum
from lepton_jax.tasks.task import CarriesState, Task, carries_state
from lepton_jax.training.accumulate import Kept, accumulate
from lepton_jax.training.learner import Tools
from lepton_jax.training.lora import Adapters
from lepton_jax.training.returned import checked_sums

LORA = 1
"""Folded into the key of a model for the key of its adapters."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fit:
    """The state of `Supervised`."""

    params: Any
    """What trains: the model's parameters, or by name what `lora` puts beside them."""
    rest: Any
    """The other variables of the model, such as running statistics."""
    optimizer: Any
    ema: Any
    """The moving average of `params`; empty when none is kept."""
    carried: Any = field(default_factory=dict)
    """The state that each row of the batch carries from step to step, `[B, ...]`; empty for most
    tasks. It is not part of the model: evaluations and exports do not use it."""
    frozen: Any = field(default_factory=dict)
    """By name, the parameters that `lora` leaves as they are."""


class Supervised:
    """Descends the gradient of the mean loss: the task's summed loss over its summed weight.

    One update is: sums of gradients over microbatches and shards, division by the weight, the
    optimizer, the moving average. If the task carries state (`tasks.task.CarriesState`), gradients
    stop at the beginning of a step: truncated backpropagation through time.
    """

    beside = ("optimizer", "ema")

    def __init__(
        self,
        task: Task,
        lora: Adapters | None = None,
        evaluation_params: Callable[[Any, Any], Any] = lambda _, params: params,
    ):
        self._task = task
        self._carrier: CarriesState | None = task if carries_state(task) else None
        self._lora = lora
        self._evaluation_params = evaluation_params
        """`(optimizer state, params) -> params` to evaluate; the average is of these."""

    def init(self, tools: Tools, key: jax.Array) -> Fit:
        """Returns fresh parameters and their optimizer state; the average is the parameters."""
        params, rest = tools.init_model(key)
        frozen: dict[str, Any] = {}
        if self._lora:
            params, frozen = self._lora.split(params, jax.random.fold_in(key, LORA))
        ema = {} if is_off(tools.ema) else jax.tree.map(jnp.copy, params)
        carried = {}
        if self._carrier:
            model = tools.model.merge(self._all_params(params, frozen), rest)
            carried = self._carrier.start(model, tools.batch_size)
        return Fit(params, rest, tools.optimizer.init(params), ema, carried, frozen)

    def update(self, tools: Tools, state: Fit, batch: Batch) -> tuple[Fit, Sums]:
        """Returns the next state, the task's sums, and the norms of gradient and update."""
        grads, sums, (rest, carried) = accumulate(
            partial(self._gradient, tools, state),
            tools.accumulate,
            batch,
            (state.rest, state.carried),
        )
        grads, sums = batch_sum((grads, sums))
        grads = jax.tree.map(lambda g: g / sums["loss"][1].astype(g.dtype), grads)
        updates, optimizer = tools.optimizer.update(grads, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema:
            evaluated = self._evaluation_params(optimizer, params)
            # In this form what stands still is its own average, to the bit.
            ema = jax.tree.map(lambda e, p: e + (1 - tools.ema) * (p - e), ema, evaluated)
        one = jnp.ones((), jnp.float32)
        sums = {
            **sums,
            "grad_norm": (optax.tree.norm(grads), one),
            "update_norm": (optax.tree.norm(updates), one),
        }
        carried = _merge_rows(carried, batch)
        return Fit(params, rest, optimizer, ema, carried, state.frozen), sums

    def variables(self, state: Fit) -> tuple[Any, Any]:
        """Returns `(params, rest)` to evaluate: the average of the parameters where one is kept."""
        return self._all_params(self.evaluated(state), state.frozen), state.rest

    def evaluated(self, state: Fit) -> Any:
        """Returns what trains, as it is evaluated: its average, else what the optimizer says."""
        return state.ema or self._evaluation_params(state.optimizer, state.params)

    def trace_loss(self, tools: Tools, state: Fit, batch: Batch) -> tuple[Kept, Sums]:
        """Computes what `update` does without the gradient: what is kept, and sums of its names.

        The two norms are 0.
        """
        _, (sums, kept) = self._summed_loss(
            tools, state.frozen, (state.rest, state.carried), batch, state.params
        )
        zero = jnp.zeros((), jnp.float32)
        return kept, {**sums, "grad_norm": (zero, zero), "update_norm": (zero, zero)}

    def _gradient(
        self, tools: Tools, state: Fit, kept: Kept, batch: Batch
    ) -> tuple[Any, Sums, Kept]:
        """Returns the gradient of the summed loss, the sums, and what the next microbatch takes."""
        loss = partial(self._summed_loss, tools, state.frozen, kept, batch)
        grads, (sums, kept) = jax.grad(loss, has_aux=True)(state.params)
        return grads, sums, kept

    def _summed_loss(
        self, tools: Tools, frozen: Any, kept: Kept, batch: Batch, params: Any
    ) -> tuple[jax.Array, tuple[Sums, Kept]]:
        """Returns the summed loss of a raw batch as a function of `params`, with all sums."""
        rest, carried = kept
        noise = tools.noise(batch)
        model = tools.model.merge(tools.cast(self._all_params(params, frozen)), rest)
        prepared = tools.augment(batch, noise)
        if not self._carrier:
            sums = checked_sums(self._task, model, prepared, noise)
            return sums["loss"][0], (sums, (tools.model.split(model)[1], carried))
        rows = jax.tree.map(lambda x: x[batch["position"]], carried)
        sums, rows = self._carrier.carrying_loss(model, prepared, noise, tools.cast(rows))
        carried = jax.tree.map(
            lambda x, row: x.at[batch["position"]].set(row.astype(x.dtype)), carried, rows
        )
        return sums["loss"][0], (sums, (tools.model.split(model)[1], carried))

    def _all_params(self, params: Any, frozen: Any) -> Any:
        return self._lora.whole(params, frozen) if self._lora else params


def _merge_rows(carried: Any, batch: Batch) -> Any:
    """Returns what all rows carry; each shard of the batch brings its own rows."""
    rows = batch["position"]
    return jax.tree.map(lambda x: batch_sum(jnp.zeros_like(x).at[rows].set(x[rows])), carried)
