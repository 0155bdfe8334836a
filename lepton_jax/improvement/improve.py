"""Improves the model in production by what it was asked: train, compare, register, promote.

    WORKDIR/retrain.json   the request
    WORKDIR/champion/      the bundle in production, from whose weights the new model starts
    WORKDIR/requests/      the labelled requests as they were when this began
    WORKDIR/config.json    the recipe of the new model, as `train --config` takes it
    WORKDIR/run/           its run
    WORKDIR/bundle/        its bundle, the challenger
    WORKDIR/comparison.json

Whatever is there already is not done again, so that the same command goes on after a kill, and the
run may be trained elsewhere: `train --config=WORKDIR/config.json --workdir=WORKDIR/run`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.config.config import Config
from lepton_jax.config.config_file import load_config
from lepton_jax.console import say
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.sources.requests import requests as read_requests
from lepton_jax.errors import WorkError
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.exportable import prepare_export
from lepton_jax.export.verify import verify_bundle
from lepton_jax.improvement.comparison import PairedComparison, answer_examples, compare_answers
from lepton_jax.improvement.decide import decide_promotion
from lepton_jax.improvement.improved import ImprovedModel
from lepton_jax.improvement.prepare import RECIPE, check_same_request, prepare_workdir
from lepton_jax.improvement.request import REQUEST, RetrainRequest, read_request
from lepton_jax.io import files
from lepton_jax.registry.bundles import open_bundle, read_bundle
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.verified import check_verified
from lepton_jax.serving import loader
from lepton_jax.training import saved
from lepton_jax.training.finished import find_finished
from lepton_jax.training.runtime import runtime
from lepton_jax.training.train import train

COMPARISON = "comparison.json"


def improve_model(
    request: RetrainRequest | None,
    workdir: str,
    *,
    recipe: Any = None,
    overrides: Mapping[str, Any] | None = None,
    approver: str = "",
    command: list[str] | None = None,
) -> ImprovedModel:
    """Makes a challenger of the model in production, and lets it take its place if it may.

    Args:
      request: what is asked for; None where `workdir` has it already.
      recipe: the config of the champion's run, where its bundle does not carry it whole.
      overrides: other keys for the new run, by path.
      approver: who approves of the promotion; '': nobody does yet.
      command: the command line, for the provenance of the run.

    Raises:
      UserError: when something is missing that only the user has.
      WorkError: when the training diverges, or the challenger cannot be verified.
    """
    place = Path(workdir)
    if not (place / REQUEST).exists():
        assert request is not None
        prepare_workdir(request, place, recipe, overrides)
    else:
        check_same_request(request, place, recipe, overrides)
    request = read_request(str(place / REQUEST))
    config, _ = load_config(str(place / RECIPE))
    champion = read_bundle(str(place / "champion"))
    if not _train(config, str(place / "run"), command or []):
        return ImprovedModel(request.model, workdir, "stopped", champion.id)
    _export(place, config)
    comparisons = _compare(place, champion)
    return decide_promotion(request.model, workdir, champion.id, comparisons, approver)


def _train(config: Config, workdir: str, command: list[str]) -> bool:
    """Trains the challenger, or goes on with it. Returns whether all its steps are taken."""
    if find_finished(config, workdir):
        return True
    return not train(config, workdir, longer=False, command=command).stopped


def _export(place: Path, config: Config) -> None:
    """Writes and verifies the challenger's bundle, where it is not verified yet."""
    folder = place / "bundle"
    if folder.exists() and check_verified(folder) is None:
        return
    with runtime(config.precision):
        exported = export_bundle(prepare_export(saved.load_run(str(place / "run"))), str(folder))
    say(f"exported {exported.id}")
    verdict = verify_bundle(str(folder), workdir=str(place / "run"))
    if not verdict.ok:
        raise WorkError(f"the challenger is not verified:\n{verdict}")


def _compare(place: Path, champion: loader.Bundle) -> list[PairedComparison]:
    """Compares champion and challenger on the old `test`, and on the new one."""
    challenger = read_bundle(str(place / "bundle"))
    file = str(place / COMPARISON)
    if files.exists(file):
        said = files.read_json(file)
        if said["champion"] == champion.id and said["challenger"] == challenger.id:
            return [PairedComparison(**c) for c in said["comparisons"]]
    comparisons = []
    before, after = (Evidence(b.folder, b.id).answered for b in (champion, challenger))
    if before is not None and after is not None and before.data == after.data:
        comparisons.append(compare_answers("old", before, after))
    columns = _columns(read_requests(path=str(place / "requests")))
    label = columns.pop("label")
    answers = []
    for bundle in (champion, challenger):
        opened, _ = open_bundle(str(bundle.folder), None)
        answers.append(answer_examples(opened, columns, label))
    comparisons.append(compare_answers("new", *answers))
    said = {"champion": champion.id, "challenger": challenger.id}
    files.write_json(file, said | {"comparisons": [asdict(c) for c in comparisons]})
    return comparisons


def _columns(source: Source) -> dict[str, np.ndarray]:
    test = source.splits["test"]
    assert isinstance(test, Columns)
    return {name: np.asarray(column) for name, column in test.columns.items()}
