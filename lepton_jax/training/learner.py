"""Learners: what one step does to the parameters.

A learner has three methods. `Supervised` fits almost everything: one model, one optimizer, the
gradient of the task's summed loss. A task that needs more (two players, targets, alternating
updates) brings the same three methods itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import is_off
from lepton_jax.errors import UserError
from lepton_jax.nn.batch import Batch, Sums
from lepton_jax.nn.collectives import batch_sum
from lepton_jax.nn.rng import Noise
from lepton_jax.training.functional import Functional
from lepton_jax.training.lora import Adapters

LORA = 1
"""Folded into the key of a model for that of its adapters."""


@dataclass(frozen=True)
class Tools:
    """What the harness hands to a learner inside the traced step."""

    model: Functional
    init_model: Callable[[jax.Array], tuple[Any, Any]]
    """`key -> (params, rest)` of the configured model."""
    optimizer: optax.GradientTransformation
    ema: Any
    """Decay of the parameters' moving average; 0.0: none is kept."""
    accumulate: int
    batch_size: int
    """Of the whole batch."""
    cast: Callable[[Any], Any]
    """Floating leaves to the precision of the computation."""
    noise: Callable[[Batch], Noise]
    augment: Callable[[Batch, Noise], Batch]
    """Augments (noise given) and prepares a raw batch for the model."""


class Learner(Protocol):
    """`init` and `update` are traced; `update` returns sums over the whole (global) batch.

    A step counts as finite when its sums are, so they should show whatever could break. `beside`,
    if it has that, names the parts of its state that are kept beside parameters: moments, averages.
    """

    def init(self, tools: Tools, key: jax.Array) -> Any: ...

    def update(self, tools: Tools, state: Any, batch: Batch) -> tuple[Any, Sums]: ...

    def variables(self, state: Any) -> tuple[Any, Any]:
        """`(params, rest)` of the configured model, as it is evaluated and exported."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fit:
    """The state of `Supervised`."""

    params: Any
    """What trains: the model's parameters, or by name what `lora` puts beside them."""
    rest: Any
    optimizer: Any
    ema: Any
    carried: Any = field(default_factory=dict)
    """What each row of the whole batch knows of the steps before, `[B, ...]`; mostly nothing. It is
    no part of the model: evaluations and exports do without it."""
    frozen: Any = field(default_factory=dict)
    """By name, the parameters that `lora` leaves as they are."""


class Supervised:
    """Descends the gradient of the mean loss: the task's summed loss over its summed weight.

    A task that carries something from step to step (`carries` is True) has two more methods:
    `start(model, B)`, what rows know before the first step, every leaf `[B, ...]`; and
    `carrying_loss(model, batch, noise, known)`, which beside the sums of `loss` returns what the
    rows know then. Gradients end where a step begins: truncated backpropagation through time.
    """

    beside = ("optimizer", "ema")

    def __init__(self, task: Any, lora: Adapters | None = None):
        self._task = task
        self._carries = getattr(task, "carries", False)
        self._lora = lora

    def init(self, tools: Tools, key: jax.Array) -> Fit:
        params, rest = tools.init_model(key)
        frozen: dict[str, Any] = {}
        if self._lora:
            params, frozen = self._lora.split(params, jax.random.fold_in(key, LORA))
        ema = {} if is_off(tools.ema) else jax.tree.map(jnp.copy, params)
        carried = {}
        if self._carries:
            whole = self._whole(params, frozen)
            carried = self._task.start(tools.model.merge(whole, rest), tools.batch_size)
        return Fit(params, rest, tools.optimizer.init(params), ema, carried, frozen)

    def update(self, tools: Tools, state: Fit, batch: Batch) -> tuple[Fit, Sums]:
        grads, sums, (rest, carried) = accumulated(self._gradient, tools, state, batch)
        grads, sums = batch_sum((grads, sums))
        grads = jax.tree.map(lambda g: g / sums["loss"][1].astype(g.dtype), grads)
        updates, optimizer = tools.optimizer.update(grads, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = (
            # In this form what stands still is its own average, to the bit.
            jax.tree.map(lambda e, p: e + (1 - tools.ema) * (p - e), state.ema, params)
            if (state.ema)
            else state.ema
        )
        one = jnp.ones((), jnp.float32)
        sums = {
            **sums,
            "grad_norm": (optax.tree.norm(grads), one),
            "update_norm": (optax.tree.norm(updates), one),
        }
        carried = _of_all_rows(carried, batch)
        return Fit(params, rest, optimizer, ema, carried, state.frozen), sums

    def _gradient(self, tools: Tools, state: Fit, kept: Any, batch: Batch) -> tuple[Any, Sums, Any]:
        rest, carried = kept

        def summed_loss(params: Any) -> tuple[jax.Array, tuple[Sums, Any]]:
            noise = tools.noise(batch)
            model = tools.model.merge(tools.cast(self._whole(params, state.frozen)), rest)
            seen = tools.augment(batch, noise)
            if not self._carries:
                sums = checked_sums(self._task, model, seen, noise)
                return sums["loss"][0], (sums, (tools.model.split(model)[1], carried))
            known = jax.tree.map(lambda x: x[batch["position"]], carried)
            sums, known = self._task.carrying_loss(model, seen, noise, tools.cast(known))
            after = jax.tree.map(
                lambda x, own: x.at[batch["position"]].set(own.astype(x.dtype)), carried, known
            )
            return sums["loss"][0], (sums, (tools.model.split(model)[1], after))

        grads, (sums, kept) = jax.grad(summed_loss, has_aux=True)(state.params)
        return grads, sums, kept

    def variables(self, state: Fit) -> tuple[Any, Any]:
        return self._whole(state.ema or state.params, state.frozen), state.rest

    def _whole(self, params: Any, frozen: Any) -> Any:
        return self._lora.whole(params, frozen) if self._lora else params


def _of_all_rows(carried: Any, batch: Batch) -> Any:
    """What all rows carry, of what each shard of the batch knows of its own rows."""
    own = batch["position"]
    return jax.tree.map(lambda x: batch_sum(jnp.zeros_like(x).at[own].set(x[own])), carried)


def checked_sums(task: Any, model: Any, batch: Batch, noise: Noise | None) -> Sums:
    """What `task.loss` returns. Raises `UserError` when it is no sums and weights."""
    sums = task.loss(model, batch, noise)
    name = f"{type(task).__module__}:{type(task).__qualname__}.loss"
    wanted = "expected {'loss': (total, weight), ...} of scalars, summed over the examples"
    if not isinstance(sums, Mapping) or "loss" not in sums:
        found = f"keys {', '.join(sums)}" if isinstance(sums, Mapping) else type(sums).__name__
        raise UserError(f"{name} returned {found}; {wanted}")
    for key, pair in sums.items():
        shapes = [jnp.shape(x) for x in pair] if isinstance(pair, tuple | list) else jnp.shape(pair)
        if shapes != [(), ()]:
            raise UserError(f"{name}: {key!r} has the shape {shapes}; {wanted}")
    return {key: (jnp.asarray(total), jnp.asarray(weight)) for key, (total, weight) in sums.items()}


def accumulated(
    gradient: Callable[..., tuple[Any, Sums, Any]], tools: Tools, state: Fit, batch: Batch
) -> tuple[Any, Sums, Any]:
    """`gradient` over the batch, a microbatch at a time: sums of gradients and of metrics, and the
    rest of the model's variables with what rows carry.

    Microbatch a takes examples a, a + A, a + 2A ...: each shard of a sharded batch keeps its own.
    """
    kept = state.rest, state.carried
    if tools.accumulate == 1:
        return gradient(tools, state, kept, batch)
    slices = jax.tree.map(
        lambda x: x.reshape(-1, tools.accumulate, *x.shape[1:]).swapaxes(0, 1), dict(batch)
    )
    first = jax.tree.map(lambda x: x[0], slices)
    grads, sums, kept = gradient(tools, state, kept, first)

    def add(carry: Any, part: Batch) -> tuple[Any, None]:
        total, kept = carry
        grads, sums, kept = gradient(tools, state, kept, part)
        return (jax.tree.map(jnp.add, total, (grads, sums)), kept), None

    others = jax.tree.map(lambda x: x[1:], slices)

    def rolled(carry: Any, parts: Any, unroll: bool = False) -> Any:
        return jax.lax.scan(add, carry, parts, unroll=unroll)[0]

    # A rolled loop keeps memory and compile time flat; XLA's CPU convolutions crawl inside one.
    # What counts is what the step is compiled for: `plan` compiles for TPUs on a CPU.
    (grads, sums), kept = jax.lax.platform_dependent(
        ((grads, sums), kept), others, cpu=partial(rolled, unroll=True), default=rolled
    )
    return grads, sums, kept
