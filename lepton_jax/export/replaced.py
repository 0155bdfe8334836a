"""What stands where a bundle is to go: nothing that anyone would miss is replaced."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lepton_jax.errors import UserError
from lepton_jax.export.exportable import Exportable, find_chain
from lepton_jax.export.lineage import scrub_values
from lepton_jax.serving import loader


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
        manifest = loader.read_object(target, loader.MANIFEST)
    except loader.BundleError:
        manifest = {}
    if manifest.keys() != {"files", "format_version"}:
        raise UserError(f"--out={out} exists and is no bundle; give a folder that does not exist")
    faults = loader.find_faults(target)
    end = f": {loader.NOT_LISTED}"
    own = [f.removesuffix(end) for f in faults if f.endswith(end)]
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
    judgement = "verified" if _is_verified(target) else "not verified"
    named = f"{loader.bundle_id(target)[:19]} (step {lineage.get('step')}, {judgement})"
    if not _is_same_run(lineage, model):
        raise UserError(
            f"--out={out} holds the bundle of another run, {named}; choose another --out, or give "
            "--replace to put this one in its place"
        )
    if not _is_verified(target):
        return ""
    return f"{out} held {named} of the same run, and holds the new one: verify it again"


def _is_verified(target: Path) -> bool:
    """Tells whether the bundle in a folder has a verdict, which is good and its own."""
    try:
        verdict = loader.read_object(target, loader.VERDICT)
    except loader.BundleError:
        return False
    return verdict.get("ok") is True and verdict.get("id") == loader.bundle_id(target)


def _is_same_run(lineage: Mapping[str, Any], model: Exportable) -> bool:
    """Tells whether a lineage is of the run of `model`, which may have gone on for longer since.

    The record of that run has the rows and the state that the bundle stands on. Where one of them
    has no digests of states (an older version's), the fingerprint alone decides.
    """
    if lineage.get("data_fingerprint") != model.data_fingerprint:
        return False
    is_same_config = lineage.get("config_fingerprint") == model.fingerprint
    theirs = lineage.get("chain")
    step = theirs.get("step") if isinstance(theirs, dict) else None
    if not isinstance(theirs, dict) or not isinstance(step, int) or model.chain is None:
        return is_same_config
    ours = model.chain if model.chain["step"] == step else find_chain(model.workdir, step)
    if ours is None or any(ours[k] != theirs.get(k) for k in ("rows", "metrics", "state")):
        return False
    return is_same_config or _differs_in_length_alone(lineage.get("config"), model)


def _differs_in_length_alone(theirs: Any, model: Exportable) -> bool:
    """Tells whether a config differs from that of `model` at most in when the run ends."""
    config = json.loads(json.dumps(scrub_values(model.config)))
    any_length = {"train_for": "", "early_stopping": None}
    return isinstance(theirs, dict) and theirs | any_length == config | any_length
