"""Answers of a model, as a sequence that a notebook shows with its pictures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from lepton_jax.errors import UserError, WorkError
from lepton_jax.notebook.html import format_block, format_image, format_lines

if TYPE_CHECKING:
    import numpy as np

    from lepton_jax.answers.kind import Shown
    from lepton_jax.serving.loader import Bundle

_MOST_SHOWN = 48
"""Answers that a notebook draws; the others are counted."""


@dataclass(frozen=True, eq=False, repr=False)
class Answers(Sequence["Shown"]):
    """Answers in the order of the inputs: `a[0].label`, `a.outputs["probabilities"]` [N, K]."""

    answers: tuple["Shown", ...]
    outputs: "dict[str, np.ndarray]"
    """What the model computed, `[N, ...]` by name."""
    source: str
    """Which model answered."""
    note: str = ""
    """Why the answers are shown as numbers, where their kind is not known here."""

    @overload
    def __getitem__(self, index: int) -> "Shown": ...
    @overload
    def __getitem__(self, index: slice) -> "Answers": ...
    def __getitem__(self, index: int | slice) -> "Shown | Answers":
        if isinstance(index, int):
            return self.answers[index]
        outputs = {name: rows[index] for name, rows in self.outputs.items()}
        return Answers(self.answers[index], outputs, self.source, self.note)

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> "Iterator[Shown]":
        return iter(self.answers)

    def __repr__(self) -> str:
        said = [f"{len(self)} answers by {self.source}", *_judged(self.answers)]
        labels = Counter(label for a in self.answers if (label := getattr(a, "label", None)))
        if labels:
            said.append(", ".join(f"{label} {n}" for label, n in labels.most_common(10)))
        return "; ".join([*said, *filter(None, [self.note])])

    def _repr_html_(self) -> str:
        return draw_answers(self.answers) + format_lines(
            filter(None, [*_judged(self.answers), self.note, f"answered by {self.source}"])
        )


def answer_with(
    bundle: "Bundle", source: str, inputs: Any, examples: int, kind: str = ""
) -> Answers:
    """Answers `inputs`, and the first `examples` held-out ones.

    `inputs`: one or a list of arrays, images, files, texts or seeds, or a dict of the input fields
    `[N, ...]`. `kind`: a kind of answer of the user's own.

    Raises:
      UserError: when an input is not what the model takes.
      WorkError: when an answer is NaN, or the model cannot be run.
    """
    from lepton_jax.config.plain import list_items
    from lepton_jax.prediction.answer import answer_inputs
    from lepton_jax.serving import loader

    given = [] if inputs is None else list_items(inputs)
    if not given and not examples:
        raise UserError("predict what? give an array, images, texts or files, or examples=8")
    try:
        found = answer_inputs(bundle, given, examples, kind)
    except loader.InputError as e:
        raise UserError(str(e)) from None
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    return Answers(found.answers, found.outputs, source, found.note)


def draw_answers(answers: "Sequence[Shown]") -> str:
    """Returns HTML of the first answers: pictures side by side over their captions, then lines."""
    shown = answers[:_MOST_SHOWN]
    pictures = [p for a in shown if (p := a.picture()) is not None]
    blocks = [format_block("", c) if i is None else format_image(i, c) for i, c in pictures]
    lines = [line for a in shown for line in a.lines()]
    more = [f"... and {len(answers) - len(shown)} more"] if len(answers) > len(shown) else []
    return "".join(blocks) + (format_lines([*lines, *more]) if lines or more else "")


def _judged(answers: "Iterable[Shown]") -> list[str]:
    judged = [a.is_right for a in answers if a.is_right is not None]
    return [f"{sum(judged)} of {len(judged)} as labelled"] if judged else []
