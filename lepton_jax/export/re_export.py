"""Makes a new bundle of an old one: by this jax, from the old one's config, weights and data.

A StableHLO program is promised for six months. Its bundle holds all that another one needs, but for
the data, from which the shapes of the model follow.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from lepton_jax.answers.kind import AnswerComparison
from lepton_jax.config.config import Config, find_user_modules
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export import stablehlo
from lepton_jax.export.bundle import ExportedBundle, export_bundle
from lepton_jax.export.exportable import Exportable, describe_data
from lepton_jax.export.heldout import find_bundle_kind
from lepton_jax.export.reading import find_reading
from lepton_jax.export.variants import VARIANTS
from lepton_jax.serving import loader
from lepton_jax.serving.programs import read_arrays
from lepton_jax.training.build import build_program
from lepton_jax.training.load_data import load_data
from lepton_jax.training.recorded_config import read_config
from lepton_jax.training.runtime import runtime
from lepton_jax.trees import unflatten_tree


@dataclass(frozen=True)
class ReExportedBundle:
    """A bundle that was made of another one, and how their answers compare."""

    exported: ExportedBundle
    old_id: str
    compared: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self.exported), "old_id": self.old_id, "compared": self.compared}

    def __str__(self) -> str:
        return f"{self.exported}\nIts answers beside those of {self.old_id[:19]}: {self.compared}"


def re_export_bundle(
    bundle: loader.Bundle, out: str, workdir: str | None = None, replace_other: bool = False
) -> ReExportedBundle:
    """Writes a new bundle of a loaded one to `out`, if it answers the old one's examples as before.

    Args:
      workdir: the run that the bundle came from, for its config and its data; by default both are
        found by the bundle's lineage, of which no code of a user's own is run.

    Raises:
      UserError: when the data is not at hand, or `out` holds something else.
      WorkError: when the answers differ, or the model cannot be exported.
    """
    lineage = loader.read_object(bundle.folder, "lineage.json")
    config = _read_config(lineage, workdir)
    with runtime(config.precision):
        model = _collect(bundle, lineage, config)
        compared = _compare(bundle, model, trusted=workdir is not None)
        if not compared.same:
            raise WorkError(
                f"{bundle.folder} is not exported again: the answers to its examples would be "
                f"others: {compared.detail}"
            )
        exported = export_bundle(model, out, replace_other)
    return ReExportedBundle(exported, bundle.id, compared.detail)


def _read_config(lineage: Mapping[str, Any], workdir: str | None) -> Config:
    """Reads the config of the run that was given, or else that of the lineage."""
    if workdir is not None:
        return read_config(workdir)
    cure = "give --workdir, the run that the bundle came from"
    config = validate_config(lineage["config"], "lineage.json")
    if modules := find_user_modules(config):
        raise UserError(
            f"the bundle's config names code in {modules[0]}: re-export runs no code because a "
            f"bundle names it; {cure}"
        )
    if "<path>" in str(lineage["config"]["data"]):
        raise UserError(f"the bundle's lineage keeps no local paths; {cure}")
    return config


def _collect(bundle: loader.Bundle, lineage: Mapping[str, Any], config: Config) -> Exportable:
    """Collects what a bundle is made of: config and data by the run, all else from the old one."""
    text = ""
    if config.data.encode is not None or config.data.tokenizer is not None:
        text = loader.read_file(bundle.folder, "tokenizer.json").decode()
    data = load_data(config, tokenizer=text)
    if data.fingerprint != lineage["data_fingerprint"]:
        raise UserError(
            "the data found here is not what the model was trained on: expected the fingerprint "
            f"{lineage['data_fingerprint'][:12]}, got {data.fingerprint[:12]}"
        )
    program = build_program(config, data)
    shapes = jax.eval_shape(program.training.variables, program.training.abstract_state())

    def forward(weights: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        params, rest = (unflatten_tree(weights, like) for like in shapes)
        return dict(program.inference.predict(params, rest, inputs))

    step = int(lineage["step"])
    measured = loader.read_object(bundle.folder, "metrics.json")
    return Exportable(
        workdir=str(bundle.folder),
        step=step,
        weights=read_arrays(bundle.folder, loader.WEIGHTS),
        forward=forward,
        input_fields=program.inference.input_fields,
        answer=program.inference.answer_name,
        classes=data.spec.classes,
        decode=config.data.decode,
        config=lineage["config"],
        fingerprint=lineage["config_fingerprint"],
        data_fingerprint=data.fingerprint,
        provenance=lineage,
        results={split: {**m, "step": step} for split, m in measured.items()},
        splits=data.splits,
        texts=data.texts,
        chain=lineage.get("chain"),
        reading=find_reading(program, shapes),
        variants=tuple(v for v in VARIANTS if v in (bundle.signature.get("variants") or {})),
        training={
            "data": describe_data(data),
            "licence": data.licence,
            "re_exported_from": bundle.id,
        },
    )


def _compare(bundle: loader.Bundle, model: Exportable, trusted: bool) -> AnswerComparison:
    """Compares what the model answers now with what the old bundle's examples say."""
    examples = bundle.examples()
    wide = any(w.dtype == np.float64 for w in model.weights.values())
    with jax.enable_x64(wide):
        try:
            answers = stablehlo.compute_answers(model.forward, model.weights, examples["inputs"])
        except (KeyError, TypeError, ValueError) as e:
            raise WorkError(f"the bundle's weights are not those of its config: {e}") from None
    kind, _ = find_bundle_kind(bundle.answer, trusted)
    return kind.compare(answers, examples["outputs"], float(bundle.signature["tolerance"]))
