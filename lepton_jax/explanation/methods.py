"""The methods by name: what each needs of a model, and what its numbers mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lepton_jax.errors import UserError, choice_error
from lepton_jax.explanation.attention_maps import (
    explain_attention_gradient,
    explain_rollout,
    has_attention,
)
from lepton_jax.explanation.grad_cam import choose_layer, explain_grad_cam
from lepton_jax.explanation.gradients import (
    expect_gradients,
    explain_saliency,
    explain_smoothgrad,
    integrate_gradients,
)
from lepton_jax.explanation.parts import InputParts
from lepton_jax.explanation.removal import ablate_parts, occlude_parts
from lepton_jax.explanation.run_model import RunModel
from lepton_jax.explanation.scores import Answering, Gaps
from lepton_jax.explanation.surrogates import fit_lime, fit_shap
from lepton_jax.explanation.taps import find_convolutions

# N inputs, P parts.


@dataclass(frozen=True)
class Subject:
    """A model whose answers are explained."""

    answer: Answering
    parts: InputParts
    references: Mapping[str, np.ndarray]
    """Inputs of other examples, `[R, ...]` each."""
    model: RunModel | None = None
    """None of a bundle, whose program carries no gradient."""
    layer: str = ""
    """The layer that Grad-CAM looks at; '': the default."""

    def shuffled(self) -> "Subject":
        """Returns the subject with its model's weights in a random order."""
        assert self.model is not None
        model = self.model.shuffled()
        return replace(self, model=model, answer=model.answer)


@dataclass(frozen=True)
class Questions:
    """N inputs, and the class whose score is explained of each."""

    fields: Mapping[str, np.ndarray]
    present: np.ndarray
    """The parts that each input has, bool [N, P]: a text is shorter than the longest."""
    target: np.ndarray

    def take(self, count: int) -> "Questions":
        """Returns the first so many."""
        fields = {name: x[:count] for name, x in self.fields.items()}
        return Questions(fields, self.present[:count], self.target[:count])

    def gaps(self, subject: Subject) -> list[Gaps]:
        """Returns each input with gaps, to be asked of the subject's model."""
        return [
            Gaps(
                subject.answer,
                subject.parts,
                {k: x[i] for k, x in self.fields.items()},
                here,
                int(t),
            )
            for i, (here, t) in enumerate(zip(self.present, self.target, strict=True))
        ]


@dataclass(frozen=True)
class Method:
    """A way to explain: `explain` returns maps `[N, *shape]`."""

    explain: Callable[[Subject, Questions], np.ndarray]
    title: str
    signed: bool
    """Whether its numbers are contributions, which may speak against a class."""
    of_blank: bool = False
    """Whether they are amounts by which a part changes the score of a blank input."""
    needs: str = ""
    """What of a run's model it needs: 'a gradient', 'a convolution', 'attention'."""
    extra: bool = False
    """Whether it is taken only where it is asked for, as it needs a library of its own."""


def _saliency(subject: Subject, asked: Questions) -> np.ndarray:
    return explain_saliency(_model(subject), asked.fields, asked.target, subject.parts)


def _smoothgrad(subject: Subject, asked: Questions) -> np.ndarray:
    return explain_smoothgrad(_model(subject), asked.fields, asked.target, subject.parts)


def _integrated(subject: Subject, asked: Questions) -> np.ndarray:
    blank = subject.parts.blank(asked.fields, asked.present)
    found = integrate_gradients(_model(subject), asked.fields, blank, asked.target, subject.parts)
    return found.maps


def _expected(subject: Subject, asked: Questions) -> np.ndarray:
    model, references = _model(subject), subject.references
    return expect_gradients(
        model, asked.fields, references, asked.present, asked.target, subject.parts
    )


def _cam(subject: Subject, asked: Questions) -> np.ndarray:
    layer = subject.layer or choose_layer(_model(subject), asked.fields)
    return explain_grad_cam(_model(subject), asked.fields, asked.target, subject.parts, layer)


def _rollout(subject: Subject, asked: Questions) -> np.ndarray:
    return explain_rollout(_model(subject), asked.fields, asked.target, subject.parts)


def _by_gradient(subject: Subject, asked: Questions) -> np.ndarray:
    return explain_attention_gradient(_model(subject), asked.fields, asked.target, subject.parts)


def _each(
    explain: Callable[[Gaps, InputParts], np.ndarray],
) -> Callable[[Subject, Questions], np.ndarray]:
    """Makes a method of one that explains one input by its gaps, as numbers of its parts."""

    def explain_all(subject: Subject, asked: Questions) -> np.ndarray:
        values = np.zeros(asked.present.shape)
        for row, gaps in zip(values, asked.gaps(subject), strict=True):
            row[gaps.places] = explain(gaps, subject.parts)
        return subject.parts.spread_parts(values)

    return explain_all


METHODS = {
    "saliency": Method(_saliency, "Saliency", False, needs="a gradient"),
    "smoothgrad": Method(_smoothgrad, "SmoothGrad", False, needs="a gradient"),
    "integrated_gradients": Method(_integrated, "Integrated gradients", True, True, "a gradient"),
    "expected_gradients": Method(_expected, "Expected gradients", True, needs="a gradient"),
    "grad_cam": Method(_cam, "Grad-CAM", False, needs="a convolution"),
    "attention_rollout": Method(_rollout, "Attention rollout", False, needs="attention"),
    "attention_gradient": Method(_by_gradient, "Attention by gradient", False, needs="attention"),
    "occlusion": Method(_each(occlude_parts), "Occlusion", True, True),
    "ablation": Method(_each(ablate_parts), "Ablation", True, True),
    "lime": Method(_each(fit_lime), "LIME", True, True, extra=True),
    "shap": Method(_each(fit_shap), "Kernel SHAP", True, True, extra=True),
}


def choose_methods(names: Sequence[str], subject: Subject) -> list[str]:
    """Returns the methods that are asked for; without names all that the model has and that need
    no library of their own.

    Raises:
      UserError: for a name that is none, or a method that needs what the model has not.
    """
    there = _has(subject)
    if not names:
        return [n for n, m in METHODS.items() if m.needs in there and not m.extra]
    for name in names:
        check_method(name)
        needs = METHODS[name].needs
        if needs not in there:
            possible = [n for n, m in METHODS.items() if m.needs in there]
            why = f"this model has no {needs.removeprefix('a ')}"
            if subject.model is None:
                why = "a bundle's program carries no gradient (give --workdir=DIR, its run)"
            elif subject.model.writes_tokens:
                why = "a language model has no gradient by the places of a text here"
            raise UserError(f"--method={name}: {why}; possible are: {', '.join(possible)}")
    return list(dict.fromkeys(names))


def check_method(name: str) -> None:
    """Raises `UserError` for a name that is no method's."""
    if name not in METHODS:
        raise choice_error("explain: no method", name, METHODS, "--method")


def _has(subject: Subject) -> set[str]:
    """Says which of the methods' needs a subject meets."""
    model = subject.model
    if model is None or model.writes_tokens:
        return {""}
    image = len(subject.parts.shape) == 2
    return {
        "",
        "a gradient",
        *(["a convolution"] if image and find_convolutions(model.params) else []),
        *(["attention"] if has_attention(model) else []),
    }


def _model(subject: Subject) -> RunModel:
    assert subject.model is not None
    return subject.model
