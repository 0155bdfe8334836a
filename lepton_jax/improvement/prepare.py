"""Keeps in a workdir all that an improvement depends on: champion, requests and recipe."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.config_file import load_config
from lepton_jax.data.sources.requests import requests as read_requests
from lepton_jax.errors import UserError
from lepton_jax.improvement.config import build_retraining, check_recipe
from lepton_jax.improvement.request import REQUEST, RetrainRequest, read_request
from lepton_jax.io import files
from lepton_jax.io.atomic import replace_folder
from lepton_jax.registry.bundles import read_bundle
from lepton_jax.registry.glance import glance_at_version
from lepton_jax.registry.store import Registry
from lepton_jax.registry.version import Version
from lepton_jax.serving import loader
from lepton_jax.serving.observed.requests import KeptRequests

RECIPE = "config.json"


def prepare_workdir(
    request: RetrainRequest, place: Path, recipe: Any, overrides: Mapping[str, Any] | None
) -> None:
    """Copies the champion and the labelled requests, and writes the recipe of the new model.

    Raises:
      UserError: when something is missing that only the user has.
    """
    folder = find_champion(request.model)
    config = _build_recipe(request, folder, place, recipe, overrides)
    _copy_labelled(request.requests, place / "requests", read_bundle(str(folder)))
    with replace_folder(place / "champion") as aside:
        shutil.copytree(folder, aside)
    files.write_text(str(place / RECIPE), config.to_json())
    request.write(str(place / REQUEST))  # the last: who finds it finds the others


def check_same_request(
    request: RetrainRequest | None,
    place: Path,
    recipe: Any,
    overrides: Mapping[str, Any] | None,
) -> None:
    """Checks that what is asked for is what a workdir was prepared for.

    Raises:
      UserError: when it is something else.
    """
    began = read_request(str(place / REQUEST))
    other = request is not None and request != began
    if not other and (recipe or overrides):
        config = _build_recipe(began, place / "champion", place, recipe, overrides)
        other = config.to_json() != files.read_text(str(place / RECIPE))
    if other:
        raise UserError(
            f"improve: {place} has begun with another request or recipe; choose another --workdir, "
            "or give it alone to go on"
        )


def find_champion(model: str) -> Path:
    """Finds the bundle in production, if clients can tell the truth of what it is asked, and its
    successor can be trained on that and compared with it.

    Raises:
      UserError: when there is none, or its answers are no classes, or it reads texts.
    """
    version = find_version_in_production(model)
    folder = Registry().fetch(version)
    signature = loader.read_object(folder, "signature.json")
    answer = signature.get("answer") or "numbers"
    if answer == "class" and not signature.get("text"):
        return folder
    why = "reads texts, and kept requests hold their tokens alone"
    if answer != "class":
        why = f"answers with {answer!s:.40}, and clients tell classes to /feedback"
    raise UserError(
        f"improve: {version.name} {why}; expected a model of the task 'classification' that reads "
        "no texts. Train this one on data of your own: --config.init_from=BUNDLE"
    )


def _build_recipe(
    request: RetrainRequest,
    champion: Path,
    place: Path,
    recipe: Any,
    overrides: Mapping[str, Any] | None,
) -> Config:
    if recipe is None:
        recipe = loader.read_object(champion, "lineage.json")["config"]
        check_recipe(recipe, f"{request.model}@production")
    else:
        recipe = load_config(recipe)[0].to_dict()
    start, requests = str(place / "champion"), str(place / "requests")
    return build_retraining(recipe, start, requests, request.augment, overrides)


def find_version_in_production(model: str) -> Version:
    if version := glance_at_version(f"{model}@production"):
        return version
    registry = Registry()
    registry.check_model(model)
    number = registry.aliases(model).get("production")
    if number is None:
        raise UserError(
            f"improve: {model} has nothing in production to improve",
            try_line=["promote", f"--model={model}@staging", "--to=production"],
        )
    return registry.version(model, number)


def _copy_labelled(given: str, to: Path, champion: loader.Bundle) -> None:
    """Copies the labelled requests of a folder, if a model can be trained and compared by them."""
    source = read_requests(path=given)
    if source.classes != tuple(champion.labels):
        raise UserError(f"improve: the requests in {given} have other classes than the champion")
    sizes = {name: len(source.splits.get(name, ())) for name in ("train", "test")}
    if not all(sizes.values()):
        raise UserError(
            f"improve: {given} has {sizes['train']} labelled examples to learn from and "
            f"{sizes['test']} to compare by; expected some of each: wait for more feedback"
        )
    kept = KeptRequests(given)
    with replace_folder(to) as aside:
        shutil.copytree(kept.folder / "bundles", aside / "bundles")
        for file in kept:
            if (labels := file.with_suffix(".json")).exists():
                (aside / file.parent.name).mkdir(exist_ok=True)
                with suppress(FileNotFoundError):  # it was deleted at this moment
                    for path in (labels, file):
                        shutil.copy2(path, aside / file.parent.name / path.name)
