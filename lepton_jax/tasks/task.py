"""The contract of a task: how a batch becomes a loss, predictions and metrics.

A task is a class that is built as `Name(spec, *, KEYS...)`: `spec` is the `DataSpec` of the data
(its `fields` with shapes and dtypes, its `classes`), the keyword-only parameters are its config
keys. It is built anew inside every trace, with the numbers that trials may vary traced. Everything
that it cannot work with, it says in `__init__`, as a `UserError`; `spec.require` helps::

    class Regression:
        def __init__(self, spec, *, inputs: tuple[str, ...]):
            for name in (*inputs, "target"):
                spec.require("regression", name, 0, "float")
            self.input_fields, self.input_shape, self.outputs = inputs, (len(inputs),), 1

        def predict(self, model, batch, noise=None):
            x = jnp.stack([batch[name] for name in self.input_fields], axis=-1)
            return {"target": model(x, noise)[:, 0]}

        def loss(self, model, batch, noise):
            error_B = (self.predict(model, batch, noise)["target"] - batch["target"]) ** 2
            return {"loss": ((error_B * batch["mask"]).sum(), batch["mask"].sum())}

        def metrics(self):
            return {}

A task that differs from one here in one thing is a subclass of a few lines. The tasks of classes
have `example_loss(logits, batch)`, those of tokens `token_loss(logits, target, batch)`, object
detection `class_loss(logits, target, batch)`: without reduction, before masks and weights::

    class Weighted(ImageClassification):
        def example_loss(self, logits, batch):
            return jnp.array([1.0, 5.0])[batch["label"]] * super().example_loss(logits, batch)

A second head is a `loss` and a `predict` that call the model once and hand to `super()` a function
that returns the first head's logits: tests/user_project/heads.py.

The optional contracts below are found by `isinstance`. A task with a training step of its own is a
`lepton_jax.training.learner.Learner` as well.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard, runtime_checkable

import jax

from lepton_jax.answers.kind import Kind
from lepton_jax.errors import UserError
from lepton_jax.metrics.metric import Metric
from lepton_jax.models.model import AlignedModel, Model
from lepton_jax.nn.batch import Batch, Outputs, Sums
from lepton_jax.nn.rng import Noise

# B batch, S tokens of a source, T tokens of an answer.


@runtime_checkable
class Task(Protocol):
    """What every task has."""

    @property
    def input_shape(self) -> Any:
        """What the model is built for: the shape of one input, without the batch axis."""
        ...

    @property
    def outputs(self) -> Any:
        """What the model is built for: the number of classes, say, or the shape of one output."""
        ...

    @property
    def input_fields(self) -> tuple[str, ...]:
        """The fields of the data that `predict` needs, such as `("image",)`; `("seed",)` for a task
        that generates. They are the inputs of an exported bundle.
        """
        ...

    def loss(self, model: Model, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up over the examples of a batch whose `batch["mask"]` float32 [B] is 1; traced.

        Returns `{"loss": (total, weight), ...}` of scalars: sums and their weights, never means.
        The training step descends total / weight of the whole batch; the others are recorded.
        `batch` holds the data's fields `[B, ...]` after `data.augment` and `data.prepare`. `noise`
        is what training draws from, and None in an evaluation. What an evaluation has to draw comes
        from `batch["seed"]` uint32 [B], the example's number in its split: `Noise(seed_keys(...))`.
        """
        ...

    def predict(self, model: Model, batch: Batch) -> Outputs:
        """Answers a batch of `input_fields`: `{"probabilities": [B, K], ...}`; traced and exported.

        Evaluations hand the outputs to metrics. Shapes are fixed, rows independent of each other.
        """
        ...

    def metrics(self) -> Mapping[str, Metric]:
        """Returns the metrics of every evaluation, by name; `config.metrics` adds others."""
        ...


@runtime_checkable
class DeclaresAnswer(Protocol):
    """A task that says of what kind its answers are; one that does not gives numbers."""

    @property
    def answer(self) -> "str | Kind":
        """'class', 'objects', 'text', 'image' or 'numbers', a kind of the user's own as
        'my_pkg.module:Name', or an object that is one (`lepton_jax.answers.kind.Kind`).
        """
        ...


@runtime_checkable
class RanksExamples(Protocol):
    """A task with a per-example loss, by which an evaluation finds the worst examples."""

    def surprise(self, outputs: Outputs, batch: Batch) -> jax.Array:
        """Returns the per-example loss [B] of what `predict` answered; traced. Nats, mostly."""
        ...


@runtime_checkable
class AlignsAnswers(Protocol):
    """A task that shows what its answers were read from, with a model that can (`AlignedModel`)."""

    def aligned(self, model: AlignedModel, batch: Batch) -> Outputs:
        """Returns what `predict` does and `weights` [B, T, S]: how much each token of the answer
        reads of each token of the source. A run draws them as attention.png.
        """
        ...


@runtime_checkable
class CarriesState(Protocol):
    """A task that carries something of each row from step to step, as truncated backpropagation
    through time does. `data.order` must be 'contiguous'; evaluations carry nothing.
    """

    @property
    def carries(self) -> bool:
        """Whether it does so: the methods are called only when it is True."""
        ...

    def start(self, model: Any, rows: int) -> Any:
        """Returns what `rows` rows carry before the first step, every leaf `[rows, ...]`."""
        ...

    def carrying_loss(
        self, model: Any, batch: Batch, noise: Noise | None, carried: Any
    ) -> tuple[Sums, Any]:
        """Returns the sums of `loss`, and what the rows carry to the next step.

        `carried` is what the rows of this batch carry, `[B, ...]`.
        """
        ...


def carries_state(task: Any) -> TypeGuard[CarriesState]:
    """Says whether the task carries something from step to step."""
    return isinstance(task, CarriesState) and bool(task.carries)


def check_task(name: str, task: Any) -> None:
    """Checks the members of the task that the config calls `name`, before anything uses them.

    Raises:
      UserError: when one is missing. `input_fields` is asked for when a run is prepared.
    """
    missing = [m for m in _members(Task) if m != "input_fields" and not hasattr(task, m)]
    if missing:
        raise UserError(
            f"task {name} has no {', '.join(missing)}; expected {', '.join(_members(Task))}, as "
            "lepton_jax.tasks.task.Task says"
        )
    check_optional(name, task, CarriesState, "carries")


def check_optional(name: str, task: Any, contract: type, mark: str) -> None:
    """Checks that a task whose member `mark` is there, and not False, has the whole of `contract`.

    Raises:
      UserError: naming what is missing.
    """
    if getattr(task, mark, False) and not isinstance(task, contract):
        missing = [m for m in _members(contract) if not hasattr(task, m)]
        raise UserError(
            f"task {name} has {mark!r} but no {', '.join(missing)}; expected all of "
            f"{', '.join(_members(contract))}, as {contract.__module__}.{contract.__name__} says"
        )


def _members(contract: type) -> list[str]:
    return [name for name in vars(contract) if not name.startswith("_")]
