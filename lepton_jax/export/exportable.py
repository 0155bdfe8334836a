"""What a bundle is made of, as plain values: exporting needs no more of a run than this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lepton_jax.config.pipeline import Pipeline
from lepton_jax.data.account import Account
from lepton_jax.data.dataset import Dataset, TokenizedTexts
from lepton_jax.data.source import Columns
from lepton_jax.data.spec import FieldSpec
from lepton_jax.export.reading import Reading, find_reading
from lepton_jax.tracking.state_chain import StateFile
from lepton_jax.training.saved import SavedRun

CHAIN = ("step", "rows", "metrics", "state", "link")
"""What of a line of states.jsonl a bundle states: it fixes all rows and states up to that step."""


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
    chain: Mapping[str, Any] | None = None
    """The line of states.jsonl of this step, but for its arrays; None where there is none."""
    reading: Reading | None = None
    """How a language model goes on with a cache; None where it has none."""
    variants: tuple[str, ...] = ()
    """The variants that its bundle has beside float32."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the training: `data`, a line about the data; its `licence`; `seconds`, how
    long the steps took; `re_exported_from`, the id of the bundle that this one is made of, if it
    is."""


def prepare_export(run: SavedRun, variants: tuple[str, ...] = ()) -> Exportable:
    """Collects what a bundle takes from a run that was loaded, with these variants beside it."""
    timings = (row for row in run.record.timings() if row["step"] <= run.step)
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
        chain=find_chain(run.workdir, run.step),
        reading=find_reading(run.program, run.program.training.variables(run.state)),
        variants=variants,
        training={
            "data": describe_data(run.data),
            "licence": run.data.licence,
            "seconds": sum(r.get("seconds", 0.0) for r in timings),
        },
    )


def find_chain(workdir: str, step: int) -> dict[str, Any] | None:
    """Returns what states.jsonl of a record says of a step, without the digests of arrays."""
    links = StateFile(workdir).links()
    link = next((link for link in links if link.step == step), None)
    return None if link is None else {k: v for k, v in vars(link).items() if k in CHAIN}


def describe_data(data: Dataset) -> str:
    """Returns a line about the data, without the account: that names files of this machine."""
    return replace(data, account=Account()).summary()
