"""Takes one step without jit, and keeps what comes up on its way: batches, gradients, sums."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import optax

from lepton_jax.debug.replay import Snapshot
from lepton_jax.debug.taps import ModuleWatch, replace_attribute, watch_modules
from lepton_jax.nn.batch import training_batch
from lepton_jax.training.learner import Tools

LOSSES = ("example_loss", "token_loss", "class_loss")
"""Methods of tasks that return losses without reduction; the last argument is the batch."""


@dataclass
class ObservedStep:
    """A step that has been taken under a watch."""

    watch: ModuleWatch
    batches: list[Any] = field(default_factory=list)
    """Augmented and prepared, one for each part of an accumulated batch."""
    optimizer_calls: list[tuple[Any, Any]] = field(default_factory=list)
    """Gradients and updates of each call of an optimizer."""
    sums: Mapping[str, Any] = field(default_factory=dict)
    losses: list[tuple[np.ndarray, Any]] = field(default_factory=list)
    """Positions in the batch [b], and the losses without reduction, [b, ...], of each call of the
    task's method that computes them."""
    learner: Any = None
    """The learner's state after the step."""


def observe_step(snapshot: Snapshot) -> ObservedStep:
    """Takes the step that follows the snapshot, every module watched."""
    with watch_modules(snapshot.program.parts.functional) as watch, np.errstate(all="ignore"):
        return take_step(snapshot, watch)


def take_step(snapshot: Snapshot, watch: ModuleWatch) -> ObservedStep:
    """Takes the step that follows the snapshot, inside `watch_modules`."""
    observed = ObservedStep(watch)
    learner, tools = snapshot.program.training.learner(snapshot.state)
    batch = training_batch(snapshot.batch)
    with _tap_losses(type(snapshot.program.parts.task()), observed):
        observed.learner, observed.sums = learner.update(
            _tap_tools(tools, observed), snapshot.state.learner, batch
        )
    return observed


@contextmanager
def _tap_losses(task: type, observed: ObservedStep) -> Iterator[None]:
    """Keeps in `observed` the loss of each example, of the tasks that have a method for it."""
    with ExitStack() as stack:
        for name in LOSSES:
            if original := getattr(task, name, None):
                stack.enter_context(replace_attribute(task, name, _keep_losses(original, observed)))
        yield


def _keep_losses(original: Callable[..., Any], observed: ObservedStep) -> Callable[..., Any]:
    def kept(*args: Any) -> Any:
        losses = original(*args)
        observed.losses.append((np.asarray(args[-1]["position"]), losses))
        return losses

    return kept


def _tap_tools(tools: Tools, observed: ObservedStep) -> Tools:
    """Returns `tools` that keep in `observed` what passes through them."""

    def augment(batch: Any, noise: Any) -> Any:
        observed.batches.append(tools.augment(batch, noise))
        return observed.batches[-1]

    def update(grads: Any, state: Any, params: Any = None, **more: Any) -> Any:
        # Compiled: it has no modules to watch, and one by one its operations take long.
        with jax.disable_jit(False):
            updates, state = jax.jit(lambda *args: tools.optimizer.update(*args, **more))(
                grads, state, params
            )
        observed.optimizer_calls.append((grads, updates))
        return updates, state

    optimizer = optax.GradientTransformationExtraArgs(tools.optimizer.init, update)
    return dataclasses.replace(tools, augment=augment, optimizer=optimizer)
