"""Answers of a model to raw inputs, and what is known of them before any is given."""

from functools import cached_property, partial
from typing import Any

import jax

from lepton_jax.answers.kind import Kind, find_kind, name_kind
from lepton_jax.config.components import resolve_component
from lepton_jax.data.spec import SEED, FieldSpec
from lepton_jax.errors import UserError
from lepton_jax.models.model import AlignedModel
from lepton_jax.nn.batch import Batch, Outputs
from lepton_jax.tasks.task import AlignsAnswers, DeclaresAnswer
from lepton_jax.training.parts import Parts
from lepton_jax.training.returned import check_outputs


class Inference:
    """Predicts with the task and the model of a config: what an exported program computes."""

    def __init__(self, parts: Parts):
        self._parts = parts
        self._name = parts.config.task.name

    def predict(self, params: Any, rest: Any, inputs: Batch) -> Outputs:
        """Answers raw inputs `[B, ...]`: preparation, the model, and the task's `predict`."""
        model = self._parts.module(params, rest)
        return self._parts.task().predict(model, self._parts.prepare(inputs))

    def try_out(self, variables: tuple[Any, Any]) -> None:
        """Traces a prediction, where a part is the user's own and no evaluation need predict.

        `variables`: shapes and dtypes of `(params, rest)`.

        Raises:
          UserError: in place of what a part raises, or when the answers are no rows by name.
        """
        names, fields = self.input_names, {**self._parts.spec.fields, "seed": SEED}
        if not self._parts.are_users or not fields.keys() >= set(names):
            return
        size = self._parts.config.batch_size
        inputs = {n: jax.ShapeDtypeStruct((size, *fields[n].shape), fields[n].dtype) for n in names}
        predict = [self.predict, self.aligned] if self.aligns else [self.predict]
        for function in predict:
            trace = partial(jax.eval_shape, function, *variables, inputs)
            outputs = self._parts.explained(trace)
            check_outputs(outputs, size, getattr(self._parts.task(), function.__name__))

    @property
    def aligns(self) -> bool:
        """Whether `aligned` can be asked: the task and the model have it."""
        model = resolve_component("model", self._parts.config.model.name)
        return isinstance(self._parts.task(), AlignsAnswers) and isinstance(model, AlignedModel)

    def aligned(self, params: Any, rest: Any, inputs: Batch) -> Outputs:
        """Answers as `predict` does, with `weights` [B, T, S]: what the answers were read from."""
        task: Any = self._parts.task()
        return task.aligned(self._parts.module(params, rest), self._parts.prepare(inputs))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of what a prediction needs, whether the data has it or not.

        Raises:
          UserError: when the task does not say.
        """
        task = self._parts.task()
        try:
            return tuple(task.input_fields)
        except AttributeError:
            raise UserError(
                f"task {self._name} has no input_fields: the names of the data's fields "
                "that a prediction needs, such as ('image',), or ('seed',)"
            ) from None

    @property
    def input_fields(self) -> dict[str, FieldSpec]:
        """The fields of the data that a prediction needs, or its seed, without the batch axis.

        Raises:
          UserError: when the task predicts from something that is no field of the data.
        """
        names, fields = self.input_names, {**self._parts.spec.fields, "seed": SEED}
        for name in names:
            if name not in fields:
                raise UserError(
                    f"task {self._name} predicts from {name!r}, which is no field of "
                    f"the data ({', '.join(fields)}): so a bundle would have no examples"
                )
        return {name: fields[name] for name in names}

    @cached_property
    def answer(self) -> Kind:
        """The kind of the task's answers.

        Raises:
          UserError: when the task names one that there is not.
        """
        try:
            return find_kind(self._declared)
        except ValueError as e:
            raise UserError(f"task {self._name}: {e}") from None

    @property
    def answer_name(self) -> str:
        """The name of that kind, as a bundle keeps it: 'class', or 'my_pkg.module:Name'.

        Raises:
          UserError: when the kind cannot be found again by a name.
        """
        try:
            return name_kind(self._declared)
        except ValueError as e:
            raise UserError(f"task {self._name}: {e}") from None

    @property
    def _declared(self) -> "str | Kind":
        task = self._parts.task()
        return task.answer if isinstance(task, DeclaresAnswer) else "numbers"
