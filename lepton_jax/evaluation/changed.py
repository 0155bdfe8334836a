"""The examples that two models answer otherwise."""

from dataclasses import dataclass

import numpy as np

from lepton_jax.evaluation.answered import AnsweredExamples


@dataclass(frozen=True)
class ChangedExample:
    """An example of `test` that two versions answer otherwise."""

    example: int
    """Its place in `test`."""
    label: str
    first: str
    first_confidence: float
    second: str
    second_confidence: float

    def __str__(self) -> str:
        said = f"{self.first} ({self.first_confidence:.0%}) -> "
        return f"no. {self.example}: true {self.label}, said {said}" + (
            f"{self.second} ({self.second_confidence:.0%})"
        )


def find_changed(
    a: AnsweredExamples, b: AnsweredExamples, classes: tuple[str, ...]
) -> tuple[ChangedExample, ...]:
    """Lists the examples that two models answer otherwise, those that both answer wrong last."""
    places = np.flatnonzero(a.answer != b.answer)
    stay_wrong = ~(a.right | b.right)[places]
    return tuple(
        ChangedExample(
            int(a.example[i]),
            classes[a.label[i]],
            classes[a.answer[i]],
            float(a.confidence[i]),
            classes[b.answer[i]],
            float(b.confidence[i]),
        )
        for i in places[np.argsort(stay_wrong, kind="stable")]
    )
