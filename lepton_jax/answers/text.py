"""Answers that are texts."""

from lepton_jax.answers.kind import Arrays, Reader, Shown
from lepton_jax.answers.numbers import NumbersKind
from lepton_jax.answers.prediction import Prediction, as_lists


class TextKind(NumbersKind):
    """A text: `tokens` int32 [B, T], of which the first `length` int32 [B] count."""

    outputs = ("tokens", "length")

    def describe(
        self, name: str, inputs: Arrays, outputs: Arrays, truth: Arrays, reader: Reader
    ) -> Shown:
        """Shows the text of the tokens; the tokens as numbers where there is no tokenizer."""
        if not reader.takes_text:
            return super().describe(name, inputs, outputs, truth, reader)
        text = reader.text(outputs["tokens"][: int(outputs["length"])])
        return Prediction(name, outputs=as_lists(outputs), text=text, of_text=True)
