"""Explanations of some inputs: which were chosen, what each method says, what its checks found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lepton_jax.errors import UserError, WorkError
from lepton_jax.explanation.asked import (
    choose_inputs,
    choose_references,
    find_present,
    known_inputs,
)
from lepton_jax.explanation.faithfulness import Checks, check_methods
from lepton_jax.explanation.grad_cam import choose_layer
from lepton_jax.explanation.methods import METHODS, Questions, Subject, choose_methods
from lepton_jax.explanation.parts import InputParts, divide_input
from lepton_jax.explanation.run_model import RunModel
from lepton_jax.serving.loader import Bundle
from lepton_jax.training.saved import SavedRun

# N inputs, P parts, T tokens, K classes.


@dataclass(frozen=True)
class ExplainedInputs:
    """N inputs with their answers, and what each method says of them."""

    source: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    """The class of each answer, whose score is explained."""
    probabilities: tuple[float, ...]
    truths: tuple[str, ...]
    """The true class of each; '' where it is not known."""
    parts: InputParts
    inputs: np.ndarray
    """The explained field `[N, ...]`."""
    words: tuple[tuple[str, ...], ...]
    """Of texts the tokens of each; () of others."""
    present: np.ndarray
    """The parts that each input has, bool [N, P]."""
    maps: dict[str, np.ndarray]
    """By method, `[N, *shape]`."""
    checks: Checks

    def __len__(self) -> int:
        return len(self.names)


def explain_inputs(
    bundle: Bundle,
    saved: SavedRun | None,
    source: str,
    methods: Sequence[str] = (),
    inputs: Sequence[Any] = (),
    examples: int = 0,
    worst: int = 0,
    layer: str = "",
) -> ExplainedInputs:
    """Explains the answers of a model to some inputs, and checks the explanations.

    Args:
      bundle: reads inputs and answers them; of a run its model that does so.
      saved: the run; None where a bundle is all that there is.
      source: the model in words.
      methods: by their names; none: all that the model has.
      inputs, examples: as of `prediction.answer.answer_inputs`.
      worst: so many of the examples of `test` that the run is most wrong about.
      layer: the layer that Grad-CAM looks at; '': it is chosen.

    Raises:
      UserError: when the model answers with no class, or a method or an input is not possible.
      InputError, BundleError: as the loader raises them.
    """
    subject = make_subject(bundle, saved)
    parts = subject.parts
    raw = choose_inputs(bundle, saved, inputs, examples, worst)
    fields = {name: np.stack([r.fields[name] for r in raw]) for name in raw[0].fields}
    probabilities = _answer(bundle, fields)
    chosen = choose_methods(methods, subject)
    words, present = find_present(bundle, parts, fields)
    empty = np.flatnonzero(~present.any(-1))
    if len(empty):
        raise UserError(f"{raw[empty[0]].name}: nothing in it can be taken away: no token is known")
    if "grad_cam" in chosen and subject.model is not None:
        subject = replace(subject, layer=choose_layer(subject.model, fields, layer))
    elif layer:
        raise UserError(f"--layer={layer}: it is for grad_cam, which is not among the methods")
    label = probabilities.argmax(-1)
    asked = Questions(fields, present, label.astype(np.int32))
    there = present[:, parts.numbers]
    maps = {name: METHODS[name].explain(subject, asked) * there for name in chosen}
    for name, found in maps.items():
        if not np.isfinite(found).all():
            raise WorkError(f"{name}: what it says of the model is not finite")
    return ExplainedInputs(
        source=source,
        names=tuple(r.name for r in raw),
        labels=tuple(_name_class(bundle, int(i)) for i in label),
        probabilities=tuple(probabilities.max(-1).tolist()),
        truths=tuple(
            _name_class(bundle, int(r.truth["label"])) if "label" in r.truth else "" for r in raw
        ),
        parts=parts,
        inputs=fields[parts.field],
        words=words,
        present=present,
        maps=maps,
        checks=check_methods(subject, asked, maps),
    )


def make_subject(bundle: Bundle, saved: SavedRun | None) -> Subject:
    """Makes the subject of explanations; arguments as of `explain_inputs`.

    Raises:
      UserError: when the model reads something that has no parts, or what it reads is not known.
    """
    known = known_inputs(bundle, saved)
    parts = divide_input(bundle, known)
    references = choose_references(bundle, parts, known)
    if saved is None:
        return Subject(lambda fields: _answer(bundle, fields), parts, references)
    model = RunModel(saved, parts)
    return Subject(model.answer, parts, references, model)


def _answer(bundle: Bundle, fields: Mapping[str, np.ndarray]) -> np.ndarray:
    """Answers with probabilities `[N, K]`."""
    outputs = bundle.predict(fields)
    if "probabilities" not in outputs or outputs["probabilities"].ndim != 2:
        raise UserError(
            f"this model answers with {', '.join(outputs)}; explain takes one that answers with a "
            "class: an output 'probabilities' [N, K]"
        )
    return outputs["probabilities"]


def _name_class(bundle: Bundle, label: int) -> str:
    return bundle.labels[label] if label < len(bundle.labels) else str(label)
