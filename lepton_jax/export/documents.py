"""What a bundle tells whoever receives it: README.md, model_card.md and sbom.json."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lepton_jax.evaluation.answered import ANSWERED, parse_answered
from lepton_jax.export.examples import EXAMPLES_FILE
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.lineage import scrub_values
from lepton_jax.export.model_card import write_model_card
from lepton_jax.export.performance import list_performances
from lepton_jax.export.readme import write_readme
from lepton_jax.export.sbom import write_sbom


def write_documents(
    model: Exportable,
    signature: Mapping[str, Any],
    lineage: Mapping[str, Any],
    results: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> dict[str, bytes]:
    """Returns the documents of a bundle by name; the same bundle gives the same bytes.

    Args:
      signature, lineage, results: the contents of signature.json, lineage.json and metrics.json.
      files: the other files of the bundle.
    """
    # What the run says of its data may name a folder of its machine.
    model = replace(model, training=scrub_values(model.training))
    config = lineage["config"]
    task = (config.get("task") or {}).get("name", signature["answer"])
    title = f"{(config.get('model') or {}).get('name', 'model')} for {task}"
    performances = list_performances(results)
    answered = parse_answered(files[ANSWERED]) if ANSWERED in files else None
    card = write_model_card(title, model, signature, lineage, performances, results, answered)
    sbom = write_sbom(title, model, signature, lineage, performances, files)
    names = [*files, "manifest.json", "model_card.md", "sbom.json"]
    readme = write_readme(title, signature, files[EXAMPLES_FILE], names)
    return {"README.md": readme.encode(), "model_card.md": card.encode(), "sbom.json": sbom}
