"""Answers that are numbers: any arrays, printed as they are. The kind of a task that names none."""

from lepton_jax.answers.compare import compare_arrays
from lepton_jax.answers.kind import AnswerComparison, Arrays, Reader, Shown
from lepton_jax.answers.prediction import Prediction, as_lists, first_image


class NumbersKind:
    """Any other outputs. A kind of your own may be a subclass of it."""

    outputs: tuple[str, ...] = ()

    def compare(self, got: Arrays, expected: Arrays, tolerance: float) -> AnswerComparison:
        """Compares array by array: floats within the tolerance, everything else equal."""
        return compare_arrays(got, expected, tolerance)

    def describe(
        self, name: str, inputs: Arrays, outputs: Arrays, truth: Arrays, reader: Reader
    ) -> Shown:
        """Shows each output that fits a line beside its truth, and a picture among the outputs."""
        return Prediction(
            name,
            truth=as_lists(truth) or None,
            outputs=as_lists(outputs),
            image=first_image(outputs),
            of_text=reader.takes_text,
        )
