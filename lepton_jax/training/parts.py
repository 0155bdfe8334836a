"""The parts that a config chose, built for its data: the task, the model, the device transforms."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.config import Config
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.trialable import apply_hyper
from lepton_jax.data.spec import DataSpec
from lepton_jax.errors import UserError, describe_value
from lepton_jax.nn.batch import Batch
from lepton_jax.nn.rng import Noise
from lepton_jax.tasks.task import Task, check_task
from lepton_jax.training.borders import Bordered, explained
from lepton_jax.training.functional import Functional
from lepton_jax.training.returned import are_rows

T = TypeVar("T")

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}
"""The dtype of the computation, by `config.precision`."""

HyperTree = Mapping[str, Any]
"""The numbers that trials may vary, possibly traced, as `config.trialable.hyper_of` nests them."""


class Parts:
    """The task, the model and the device transforms of a config, for data of `spec`.

    Every number that trials may vary is an argument of the methods, so that one compiled program
    serves every trial that differs in nothing else.

    Raises:
      UserError: when the task lacks a member of its contract, or the model cannot be placed.
    """

    def __init__(self, config: Config, spec: DataSpec):
        self.config = config
        self.spec = spec
        self.dtype = PRECISIONS[config.precision]
        task = self.task()
        check_task(config.task.name, task)
        self.shape = (task.input_shape, task.outputs)
        """What the model is built for: its input shape and its outputs."""
        self.functional = Functional(self.make_model(), f"model {config.model.name}")

    @property
    def are_users(self) -> bool:
        """Whether a part of the step is the user's own, as 'my_pkg.module:Name'."""
        config = self.config
        transforms = (*config.data.augment, *config.data.prepare)
        parts = (config.model, config.task, config.optimizer, config.schedule, *transforms)
        return any(":" in part.name for part in parts)

    def trial_config(self, hyper: HyperTree | None) -> Config:
        """Returns the config with the numbers `hyper` in place of its own; None: its own."""
        return self.config if hyper is None else apply_hyper(self.config, hyper)

    def task(self, hyper: HyperTree | None = None) -> Task:
        """Builds the task with the numbers `hyper`."""
        return self.trial_config(hyper).task.build(self.spec)

    def make_model(self, hyper: HyperTree | None = None) -> Callable[..., Any]:
        """Returns `rngs -> module`, the model with the numbers `hyper`."""
        config = self.trial_config(hyper)
        return lambda rngs: config.model.build(*self.shape, rngs=rngs)

    def module(self, params: Any, rest: Any) -> Any:
        """Returns the model with these variables, in the precision of the computation.

        Call it inside a trace.
        """
        return self.functional.merge(self.cast(params), rest)

    def explained(self, run: Callable[[], T], more: Sequence[Bordered] = ()) -> T:
        """Returns `run()`, a trace of these parts and of `more`.

        Raises:
          UserError: in place of what a part raises, as `borders.explained` does.
        """

        def parts() -> list[Bordered]:
            module = nnx.eval_shape(lambda: self.make_model()(nnx.Rngs(params=0)))
            return [
                Bordered(f"model {self.config.model.name}", module),
                Bordered(f"task {self.config.task.name}", self.task()),
                *more,
            ]

        return explained(run, parts)

    def augment(self, hyper: HyperTree, batch: Batch, noise: Noise) -> Batch:
        """Runs `data.augment` on a raw batch `[B, ...]`; the training step alone does so."""
        return _run(self.trial_config(hyper).data.augment, batch, noise)

    def prepare(self, batch: Batch) -> Batch:
        """Runs `data.prepare` on a raw batch `[B, ...]` and casts it; `mask` stays as it is.

        Every step, every evaluation and every exported program does so.
        """
        batch = _run(self.config.data.prepare, batch, None)
        return {k: v if k == "mask" else self.cast(v) for k, v in batch.items()}

    def cast(self, tree: Any) -> Any:
        """Casts floating leaves to the precision of the computation."""
        return jax.tree.map(
            lambda x: x.astype(self.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
        )


def _run(pipeline: Pipeline, batch: Batch, noise: Noise | None) -> Batch:
    for transform in pipeline:
        given, batch = batch, transform.build(batch, noise)
        if not are_rows(batch, next(iter(given.values())).shape[0]):
            raise UserError(
                f"transform {transform.name} got {describe_value(given)} and returned "
                f"{describe_value(batch)}; expected all fields, [B, ...] of as many examples"
            )
    return batch
