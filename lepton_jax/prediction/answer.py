"""What a bundle's outputs say of its inputs, by its kind of answer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.answers.kind import Shown, find_kind_or_numbers
from lepton_jax.prediction.inputs import gather_inputs
from lepton_jax.serving.loader import Bundle


def answer_inputs(
    bundle: Bundle, inputs: Sequence[Any], examples: int
) -> tuple[tuple[Shown, ...], str]:
    """Predicts for the bundle's first held-out `examples` and for `inputs`, all in one batch.

    Returns the answers, and a sentence where the bundle's kind of answer is not known here and they
    are shown as numbers; else "".

    Raises:
      UserError: when an input cannot be read.
      InputError: when it is not what the bundle takes.
      BundleError: when the bundle is damaged or cannot be run.
    """
    raw = gather_inputs(bundle, inputs, examples)
    fields = {name: np.stack([r.fields[name] for r in raw]) for name in raw[0].fields}
    outputs = bundle.predict(fields)
    kind, note = find_kind_or_numbers(bundle.answer)
    answers = tuple(
        kind.describe(r.name, r.fields, {k: v[i] for k, v in outputs.items()}, r.truth, bundle)
        for i, r in enumerate(raw)
    )
    return answers, note
