"""What stands where a bundle is to go: nothing that anyone would miss is replaced."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lepton_jax.errors import UserError
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.lineage import scrub_values
from lepton_jax.serving import loader
from lepton_jax.serving.loader import MANIFEST, bundle_id

NOT_LISTED = "not listed in the manifest"
"""How the loader's sentence on a file that does not belong to a bundle ends."""


def describe_replaced(target: Path, model: Exportable, out: str, replace: bool) -> str:
    """Returns a sentence on a verified bundle of this run that is about to be replaced; or "".

    Raises:
      UserError: when there is something else: no bundle, files of the user's own, another run's.
    """
    if not target.is_dir():
        raise UserError(f"--out={out} is a file; give a folder that does not exist")
    if not any(target.iterdir()):
        return ""
    try:
        bundle_files = loader.read_object(target, MANIFEST).keys() == {"files", "format_version"}
    except loader.BundleError:
        bundle_files = False
    if not bundle_files:
        raise UserError(f"--out={out} exists and is no bundle; give a folder that does not exist")
    faults = loader.find_faults(target)
    own = [f.removesuffix(": " + NOT_LISTED) for f in faults if f.endswith(NOT_LISTED)]
    if own:
        more = f" and {len(own) - 1} more files" if len(own) > 1 else ""
        raise UserError(
            f"--out={out} holds {own[0]}{more}, which would be lost: the bundle there does not "
            "list it; move it away, or choose another --out"
        )
    if replace:
        return ""
    try:
        lineage = loader.read_object(target, "lineage.json")
    except loader.BundleError:
        return ""  # damaged
    named = f"{bundle_id(target)[:19]} (step {lineage.get('step')}, {_judgement(target)})"
    if not _is_same_run(lineage, model):
        raise UserError(
            f"--out={out} holds the bundle of another run, {named}; choose another --out, or give "
            "--replace to put this one in its place"
        )
    replaced = f"{out} held {named} of the same run, and holds the new one: verify it again"
    return replaced if _judgement(target) == "verified" else ""


def _judgement(target: Path) -> str:
    try:
        verdict = loader.read_object(target, loader.VERDICT)
    except loader.BundleError:
        return "not verified"
    good = verdict.get("ok") is True and verdict.get("id") == bundle_id(target)
    return "verified" if good else "not verified"


def _is_same_run(lineage: Mapping[str, Any], model: Exportable) -> bool:
    """Tells whether a lineage is of the run of `model`, which may have gone on for longer since."""
    if lineage.get("data_fingerprint") != model.data_fingerprint:
        return False
    if lineage.get("config_fingerprint") == model.fingerprint:
        return True
    theirs, config = lineage.get("config"), json.loads(json.dumps(scrub_values(model.config)))
    length = "train_for"
    return isinstance(theirs, dict) and {**theirs, length: ""} == {**config, length: ""}
