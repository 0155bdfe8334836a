"""What an evaluation needs of the program that it measures; `training.program.Program` is one."""

from collections.abc import Mapping
from typing import Any, Protocol

from lepton_jax.config.components import Component
from lepton_jax.config.config import Config
from lepton_jax.data.dataset import DataSpec

State = Any
"""The state of a run, or of several in lanes; an evaluation hands it on and looks at nothing."""


class EvaluatedProgram(Protocol):
    """A config and the pure functions that measure and predict with its model."""

    @property
    def config(self) -> Config: ...

    @property
    def spec(self) -> DataSpec: ...

    def abstract_state(self) -> State:
        """Returns the shapes and types of a state."""
        ...

    def variables(self, state: State) -> tuple[Any, Any]:
        """Returns `(params, rest)` of the model that is evaluated."""
        ...

    def metrics(self, extra: Mapping[str, Component]) -> dict[str, Any]:
        """Builds the task's own metrics and those in `extra`, by name."""
        ...

    def evaluate(self, metrics: Mapping[str, Any], state: State, batch: Any) -> Any:
        """Measures a raw batch: `{'sums': ..., 'examples': ..., 'gathered': ...}`."""
        ...

    @property
    def task_input_fields(self) -> tuple[str, ...]: ...

    def predict(self, params: Any, rest: Any, inputs: Any) -> dict[str, Any]:
        """Answers raw inputs `[B, ...]`."""
        ...

    @property
    def aligns(self) -> bool:
        """Whether `aligned` can be asked."""
        ...

    def aligned(self, params: Any, rest: Any, inputs: Any) -> dict[str, Any]:
        """Answers as `predict`, with the attention `weights` [B, T, S] that were used."""
        ...
