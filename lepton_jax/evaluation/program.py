"""What an evaluation needs of the program that it measures; `training.program.Program` is one."""

from collections.abc import Mapping
from typing import Any, Protocol

from lepton_jax.config.components import Component
from lepton_jax.config.config import Config
from lepton_jax.data.spec import DataSpec
from lepton_jax.metrics.metric import Metric
from lepton_jax.nn.batch import Batch, Outputs

State = Any
"""The state of a run, or of several in lanes; an evaluation hands it on and looks at nothing."""


class EvaluatedStep(Protocol):
    """What is known of a state without looking at it (`training.step.TrainingStep`)."""

    def abstract_state(self) -> State:
        """Returns the shapes and dtypes of a state."""
        ...

    def variables(self, state: State) -> tuple[Any, Any]:
        """Returns `(params, rest)` of the model that is evaluated."""
        ...


class EvaluatedScoring(Protocol):
    """The pure functions that measure (`training.scoring.Scoring`)."""

    def metrics(self, extra: Mapping[str, Component]) -> dict[str, Metric]:
        """Builds the task's own metrics and those in `extra`, by name."""
        ...

    def evaluate(self, metrics: Mapping[str, Metric], state: State, batch: Batch) -> Any:
        """Measures a raw batch: `{'sums': ..., 'examples': ..., 'gathered': ...}`."""
        ...


class EvaluatedInference(Protocol):
    """The pure functions that predict (`training.inference.Inference`)."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of what a prediction needs: fields of the data, or `("seed",)`."""
        ...

    def predict(self, params: Any, rest: Any, inputs: Batch) -> Outputs:
        """Answers raw inputs `[B, ...]`."""
        ...

    @property
    def aligns(self) -> bool:
        """Whether `aligned` can be asked."""
        ...

    def aligned(self, params: Any, rest: Any, inputs: Batch) -> Outputs:
        """Answers as `predict`, with the attention `weights` [B, T, S] that were used."""
        ...


class EvaluatedProgram(Protocol):
    """A config and the pure functions that measure and predict with its model."""

    @property
    def config(self) -> Config: ...

    @property
    def spec(self) -> DataSpec: ...

    @property
    def training(self) -> EvaluatedStep: ...

    @property
    def scoring(self) -> EvaluatedScoring: ...

    @property
    def inference(self) -> EvaluatedInference: ...
