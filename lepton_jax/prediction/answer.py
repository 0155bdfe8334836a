"""What a bundle's outputs say of one input."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lepton_jax.answers.objects import DetectedObjects, detected_objects
from lepton_jax.plots.terminal import Picture
from lepton_jax.prediction.inputs import RawInput, gather_inputs
from lepton_jax.serving.loader import Bundle


@dataclass(frozen=True)
class Prediction:
    """What the model says of one input.

    `truth` is the class, or the fields of the data that outputs are named after; None where it is
    not known. `label` and `probability` are None where the answer is no class: an image, a `text`,
    numbers.
    """

    input: str
    label: str | None
    probability: float | None
    truth: str | dict[str, Any] | None
    outputs: dict[str, Any]
    image: np.ndarray | None = field(repr=False, compare=False, default=None)
    text: str | None = None
    of_text: bool = False

    def as_json(self) -> dict[str, Any]:
        keys = ("input", "label", "probability", "truth", "outputs")
        document = {k: getattr(self, k) for k in keys}
        return document if self.text is None else {**document, "text": self.text}

    @property
    def is_right(self) -> bool | None:
        """Whether the class is the true one; None where one of the two is not known."""
        return None if None in (self.label, self.truth) else self.label == self.truth

    def lines(self) -> list[str]:
        """Returns an input that is a text, and what is said of it; of others there is a picture."""
        if not self.of_text:
            return []
        if self.text is not None:
            return [f"{self.input} -> {self.text}"]
        if self.label is None:
            return [f"{self.input} -> {', '.join(_format_outputs(self.outputs, self.truth))}"]
        wrong = f", true {self.truth} WRONG" if self.is_right is False else ""
        return [f"{self.input} -> {self.label} ({self.probability:.1%}){wrong}"]

    def picture(self) -> Picture | None:
        """Returns the image of an input or an answer over what is said of it; None of a text."""
        return None if self.of_text else (self.image, self._caption())

    def _caption(self) -> list[str]:
        name = os.path.basename(self.input)
        if self.label is None:
            return [name, *_format_outputs(self.outputs, self.truth)]
        said = f"{self.label} ({self.probability:.1%})"
        if self.truth is None:
            return [name, said]
        wrong = "" if self.is_right else " WRONG"
        return [f"true {self.truth}", f"said {said}{wrong}"]


def answer_inputs(
    bundle: Bundle, inputs: Sequence[Any], examples: int
) -> tuple[Prediction | DetectedObjects, ...]:
    """Predicts for the bundle's first held-out `examples` and for `inputs`, all in one batch.

    Raises:
      UserError: when an input cannot be read.
      InputError: when it is not what the bundle takes.
      BundleError: when the bundle is damaged or cannot be run.
    """
    raw = gather_inputs(bundle, inputs, examples)
    fields = {name: np.stack([r.fields[name] for r in raw]) for name in raw[0].fields}
    outputs = bundle.predict(fields)
    return tuple(
        interpret_outputs(bundle, r, {k: v[i] for k, v in outputs.items()})
        for i, r in enumerate(raw)
    )


def interpret_outputs(
    bundle: Bundle, raw: RawInput, outputs: Mapping[str, np.ndarray]
) -> Prediction | DetectedObjects:
    """Returns what the bundle's outputs for one input mean, without the batch axis."""
    if bundle.answer == "objects":
        seen = detected_objects(raw.truth, bundle.labels) if "boxes" in raw.truth else None
        return DetectedObjects(
            raw.name, detected_objects(outputs, bundle.labels), seen, _image(raw.fields)
        )
    values = {k: v.tolist() for k, v in outputs.items()}
    of_text = bundle.takes_text
    if bundle.answer == "text" and of_text:
        text = bundle.text(outputs["tokens"][: int(outputs["length"])])
        return Prediction(raw.name, None, None, None, values, text=text, of_text=True)
    if bundle.answer != "class":
        truth = {k: v.tolist() for k, v in raw.truth.items()} or None
        return Prediction(raw.name, None, None, truth, values, _image(outputs), of_text=of_text)
    labelled = _label(bundle, int(raw.truth["label"])) if "label" in raw.truth else None
    chosen = int(values["label"])
    said, sure = _label(bundle, chosen), values["probabilities"][chosen]
    return Prediction(raw.name, said, sure, labelled, values, _image(raw.fields), of_text=of_text)


def _image(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    return next((a for a in arrays.values() if a.ndim == 3 and a.dtype == np.uint8), None)


def _label(bundle: Bundle, label: int) -> str:
    if 0 <= label < len(bundle.labels):
        return bundle.labels[label]
    return repr(bundle.text([label])) if bundle.takes_text else str(label)


def _format_outputs(outputs: Mapping[str, Any], truth: Any) -> list[str]:
    """Returns outputs of no known kind that fit a line: `degrees 12.5 (true 11)`."""

    def shown(x: Any) -> str:
        return np.array2string(np.asarray(x), precision=4)

    true = {name: f" (true {shown(x)})" for name, x in (truth or {}).items()}
    small = {name: x for name, x in outputs.items() if np.size(x) <= 8}
    return [f"{name} {shown(x)}{true.get(name, '')}" for name, x in small.items()]
