"""What a bundle's outputs say of its inputs, by its kind of answer."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.answers.kind import Kind, Shown, find_kind, find_kind_or_numbers, is_user_kind
from lepton_jax.errors import UserError
from lepton_jax.prediction.inputs import gather_inputs
from lepton_jax.serving.loader import Bundle


@dataclass(frozen=True)
class Answered:
    """Answers to inputs, in their order."""

    answers: tuple[Shown, ...]
    outputs: dict[str, np.ndarray]
    """What the model computed, `[N, ...]` by name."""
    note: str
    """Why the answers are shown as numbers, where their kind is not known here or is code of a
    user's own; else ''."""


def answer_inputs(
    bundle: Bundle, inputs: Sequence[Any], examples: int, kind_name: str = ""
) -> Answered:
    """Predicts for the bundle's first held-out `examples` and for `inputs`, all in one batch.

    Args:
      kind_name: the kind by which the answers are shown; "" for the one that the bundle names.

    Raises:
      UserError: when an input cannot be read, or there is no kind of that name.
      InputError: when it is not what the bundle takes.
      BundleError: when the bundle is damaged or cannot be run.
    """
    kind, note = _choose_kind(bundle.answer, kind_name)
    raw = gather_inputs(bundle, inputs, examples)
    fields = {name: np.stack([r.fields[name] for r in raw]) for name in raw[0].fields}
    outputs = bundle.predict(fields)
    absent = [name for name in kind.outputs if name not in outputs]
    if kind_name and absent:
        raise UserError(
            f"--kind={kind_name} expects the output {absent[0]!r}; the bundle has: "
            f"{', '.join(outputs)}"
        )
    answers = tuple(
        kind.describe(r.name, r.fields, {k: v[i] for k, v in outputs.items()}, r.truth, bundle)
        for i, r in enumerate(raw)
    )
    return Answered(answers, outputs, note)


def _choose_kind(of_bundle: str, by_user: str) -> tuple[Kind, str]:
    """Returns a kind of answer, and "" or why it is that of numbers.

    Code that a bundle names is used where the user names it too, or has imported it already.
    """
    if by_user:
        try:
            return find_kind(by_user), ""
        except ValueError as e:
            raise UserError(f"--kind={by_user}: {e}") from None
    if is_user_kind(of_bundle) and of_bundle.partition(":")[0] not in sys.modules:
        return find_kind("numbers"), (
            f"answers of the kind {of_bundle!r} are taken as numbers: code is not run because a "
            f"bundle names it; if it is yours, give --kind={of_bundle}"
        )
    return find_kind_or_numbers(of_bundle)
