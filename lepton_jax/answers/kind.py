"""The contract of a kind of answer, and how a task's `answer` names one.

A kind says which outputs of `predict` are the answer, how two answers compare, and how one is shown
beside its truth. Three further protocols are optional: `MeasuredAgain`, `KeepsWorst` and
`JudgesWorst`. Everything here works on NumPy arrays and imports no JAX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lepton_jax.config.components import TABLES, resolve_component
from lepton_jax.errors import did_you_mean

# B batch.

Arrays = Mapping[str, np.ndarray]
"""Outputs, inputs or true fields by name."""


Picture = tuple[np.ndarray | None, Sequence[str]]
"""An image uint8 [H, W, C], which may be absent, and the lines below it."""


@dataclass(frozen=True)
class AnswerComparison:
    """Whether two batches of answers are the same, and a sentence that says how far."""

    same: bool
    detail: str


class Reader(Protocol):
    """What makes words of numbers: a bundle, or whatever knows its labels and its tokenizer."""

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes; empty where there are none."""
        ...

    @property
    def takes_text(self) -> bool:
        """Whether the inputs are texts."""
        ...

    def text(self, tokens: Sequence[int] | np.ndarray, /) -> str:
        """Returns the text of tokens."""
        ...


class Shown(Protocol):
    """One answer as `predict` shows it; `answers.prediction.Prediction` is one for most kinds."""

    @property
    def is_right(self) -> bool | None:
        """Whether the answer is the truth; None where that is not known."""
        ...

    def lines(self) -> list[str]:
        """Returns lines of its own; empty where a picture is shown instead."""
        ...

    def picture(self) -> Picture | None:
        """Returns an image with the lines below it, which stand side by side; None of lines."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Returns the answer for `predict --json`."""
        ...


@runtime_checkable
class Kind(Protocol):
    """What a task's answers are.

    `answers.numbers.NumbersKind` implements it for any arrays, so that a kind of your own is a
    subclass with what differs::

        class RankingKind(NumbersKind):
            outputs = ("order",)  # int32 [B, N], the best item first

            def describe(self, name, inputs, outputs, truth, reader):
                said = " > ".join(map(str, outputs["order"]))
                return Prediction(name, outputs=as_lists(outputs), said=(said,))

    A task names it as `answer = "my_pkg.kinds:RankingKind"`, or `answer = RankingKind()`.
    """

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of `predict` that are the answer; a task may have others beside them."""
        ...

    def compare(self, got: Arrays, expected: Arrays, tolerance: float) -> AnswerComparison:
        """Compares two batches of outputs `[B, ...]`, for `verify`.

        `expected` are those of the exporter. Floats may differ by `tolerance`.
        """
        ...

    def describe(
        self, name: str, inputs: Arrays, outputs: Arrays, truth: Arrays, reader: Reader
    ) -> Shown:
        """Says what the outputs for one input mean, for `predict`.

        `name` is what the input is called. Arrays are without the batch axis. `truth` holds the
        fields of the data that are named as outputs are; it is empty where they are not known.
        """
        ...


@runtime_checkable
class MeasuredAgain(Protocol):
    """A kind whose recorded result `verify` measures again on the test set."""

    @property
    def metric(self) -> str:
        """The name of the recorded result, such as 'accuracy'."""
        ...

    @property
    def truth_fields(self) -> tuple[str, ...]:
        """The fields of the data that the measurement takes."""
        ...

    def measure(self, answers: Arrays, truth: Arrays, classes: Sequence[str]) -> float:
        """Returns the metric of the answers to all examples `[E, ...]`."""
        ...

    def allowed(self, examples: int) -> float:
        """Returns how far the metric of so many examples may lie from the recorded one."""
        ...


@runtime_checkable
class KeepsWorst(Protocol):
    """A kind of which the record keeps more than the loss of the worst examples."""

    def worst(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what is kept of each example, numbers `[B]` by name; traced by JAX."""
        ...

    def caption_worst(
        self, example: Mapping[str, Any], row: Arrays, classes: Sequence[str]
    ) -> str | None:
        """Returns the caption of one of the worst examples, drawn in mistakes.png.

        `example` is its entry in the record: what `worst` kept, `example`, its place in the split,
        and `loss`. `row` is the example. None where it cannot be said.
        """
        ...


@runtime_checkable
class JudgesWorst(Protocol):
    """A kind that tells which of the worst examples have a wrong answer: they are drawn first."""

    def is_right(self, example: Mapping[str, Any], row: Arrays) -> bool | None:
        """Tells whether the answer is the truth; arguments as `KeepsWorst.caption_worst` gets."""
        ...


def find_kind(answer: Any) -> Kind:
    """Returns the kind that a task's `answer` names, or `answer` itself where that is a kind.

    Raises:
      ValueError: with a sentence, when there is no such kind.
    """
    if not isinstance(answer, str):
        if isinstance(answer, Kind) and not isinstance(answer, type):
            return answer
        raise ValueError(
            f"answer = {answer!r} is no kind of answer; expected one of {', '.join(KINDS)}, "
            "'my_pkg.module:Name', or an object as lepton_jax.answers.kind.Kind says"
        )
    if ":" not in answer and answer not in KINDS:
        raise ValueError(
            f"answer = {answer!r}{did_you_mean(answer, KINDS)}; expected one of {', '.join(KINDS)}"
        )
    kind_class = resolve_component("answer", answer)
    # Checked before it is called: a bundle may name what it likes.
    if not (isinstance(kind_class, type) and isinstance(kind_class, Kind)):
        raise ValueError(f"answer = {answer!r} is no kind: see lepton_jax.answers.kind.Kind")
    return kind_class()


def name_kind(answer: Any) -> str:
    """Returns the name by which a bundle's signature keeps the kind: a task's own as 'module:Name'.

    Raises:
      ValueError: when the kind cannot be found again by a name.
    """
    if isinstance(answer, str):
        return answer
    name = f"{type(answer).__module__}:{type(answer).__qualname__}"
    try:
        find_kind(name)
    except (ValueError, TypeError):
        raise ValueError(
            f"answer: the class {name} cannot be found by this name and built without arguments; "
            "define it at the top of a module"
        ) from None
    return name


def is_user_kind(name: Any) -> bool:
    """Tells whether the name of a kind is that of a user's code, 'module:Name'.

    A bundle is data from elsewhere: such code is not imported because a bundle names it.
    """
    return isinstance(name, str) and ":" in name and name not in KINDS.values()


def find_kind_or_numbers(name: str) -> tuple[Kind, str]:
    """Returns the kind that a bundle names and ""; or numbers, and a sentence saying why."""
    try:
        return find_kind(name), ""
    except Exception as e:  # noqa: BLE001  code that a bundle names may fail in any way
        return find_kind("numbers"), f"answers of the kind {name!r} are taken as numbers: {e}"


KINDS = TABLES["answer"]
"""The kinds that have a short name."""
