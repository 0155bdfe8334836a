"""What a bundle is made of, as plain values: exporting needs no more of a run than this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.config.pipeline import Pipeline
from lepton_jax.data.dataset import TokenizedTexts
from lepton_jax.data.source import Columns
from lepton_jax.data.spec import FieldSpec
from lepton_jax.training.saved import SavedRun


@dataclass(frozen=True)
class Exportable:
    """A trained model, the data it was trained on, and what its record says."""

    workdir: str
    step: int
    weights: Mapping[str, np.ndarray]
    """Parameters and running statistics by name, `conv1.kernel`."""
    forward: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    """The pure function `(weights, inputs)` to outputs, of raw inputs `[B, ...]`."""
    input_fields: Mapping[str, FieldSpec]
    """The raw inputs of `forward`, without the batch axis."""
    answer: str
    """The kind of the answers."""
    classes: tuple[str, ...]
    decode: Pipeline
    """The host pipeline that an image went through."""
    config: Mapping[str, Any]
    fingerprint: str
    data_fingerprint: str
    provenance: Mapping[str, Any]
    results: Mapping[str, Any]
    """`{split: {metric: value}}`, each with the step at which it was measured."""
    splits: Mapping[str, Columns]
    texts: TokenizedTexts | None
    """How texts became inputs; None where the data has no texts."""


def prepare_export(run: SavedRun) -> Exportable:
    """Collects what a bundle takes from a run that was loaded."""
    return Exportable(
        workdir=run.workdir,
        step=run.step,
        weights=run.weights,
        forward=run.forward,
        input_fields=run.program.inference.input_fields,
        answer=run.program.inference.answer_name,
        classes=run.data.spec.classes,
        decode=run.config.data.decode,
        config=run.config.to_dict(),
        fingerprint=run.config.fingerprint(),
        data_fingerprint=run.data.fingerprint,
        provenance=run.record.provenance(),
        results=run.record.results(),
        splits=run.data.splits,
        texts=run.data.texts,
    )
