"""Checks that a bundle is the one that was verified, and who signed it."""

import os
from dataclasses import dataclass
from pathlib import Path

from lepton_jax.console import format_command
from lepton_jax.registry.own_verdict import is_own_verdict
from lepton_jax.serving import loader
from lepton_jax.signing.signer import REFUSED, find_signer
from lepton_jax.trees import flatten_dict


@dataclass(frozen=True)
class Refusal:
    """Why a bundle is refused, and what helps."""

    kind: str
    """'unverified', 'changed', 'signature', 'metric missing', 'no evidence', 'below the gate' or
    'not in staging'."""
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}; {self.cure}"


def check_verified(folder: Path, bundle: str = "", *, own: bool = False) -> Refusal | None:
    """Checks that a bundle is the one that was verified. Returns None if it is, or why not.

    Its signature is checked first; where it has none, nothing is missing.

    Args:
      bundle: what the user calls the bundle, where it is not the folder.
      own: demands that the verdict was made on this machine, as a bundle from elsewhere may bring
        any verdict.
    """
    if refusal := check_signed(folder, bundle, demanded=False):
        return refusal
    cure = f"run: {format_command('verify', bundle=bundle or folder)}"
    try:
        identity = loader.bundle_id(folder)
    except loader.BundleError as e:
        return Refusal("changed", str(e), "export it again")
    try:
        if not os.path.lexists(folder / loader.VERDICT):
            return Refusal("unverified", f"{identity} has no verdict", cure)
        verdict = loader.read_object(folder, loader.VERDICT)
        judged, ok = verdict["id"], verdict["ok"]
        failed = [str(c["name"]) for c in verdict["checks"] if c["ok"] is False]
        foreign = own and not is_own_verdict(folder)
    except (loader.BundleError, KeyError, TypeError) as e:
        said = str(e) if isinstance(e, loader.BundleError) else f"{type(e).__name__}: {e}"
        return Refusal("unverified", f"its verdict cannot be read ({said})", cure)
    if judged != identity:
        return Refusal("changed", f"the verdict is of {judged}, but this is {identity}", cure)
    if foreign:
        return Refusal("unverified", "its verdict was not made here", cure)
    if faults := loader.find_faults(folder):
        return Refusal("changed", f"since it was verified: {'; '.join(faults)}", "export it again")
    if ok is not True or failed:
        return Refusal("unverified", f"verification failed ({', '.join(failed)})", cure)
    return None


def check_signed(folder: Path, bundle: str = "", *, demanded: bool = True) -> Refusal | None:
    """Checks that a key which is trusted here has signed a bundle. Returns None, or why not.

    Args:
      bundle: what the user calls the bundle, where it is not the folder.
      demanded: False also accepts a bundle without a signature, and one of an unknown key.
    """
    signer = find_signer(folder)
    if signer.state == "trusted" or (not demanded and signer.state not in REFUSED):
        return None
    said = f"it is signed {signer}" if signer.key else str(signer)
    return Refusal("signature", said, signer.cure(bundle or folder))


def bundle_faults(folder: Path, identity: str) -> list[str]:
    """Lists what keeps `folder` from being the bundle `identity`; [] if nothing does."""
    try:
        actual = loader.bundle_id(folder)
    except loader.BundleError as e:
        return [str(e)]
    faults = [f"it is {actual}"] if actual != identity else []
    return faults + loader.find_faults(folder)


def read_metrics(folder: Path) -> dict[str, float]:
    """Reads the numbers of a bundle's metrics.json as `{'test/accuracy': 0.98}`."""
    results = flatten_dict(loader.read_object(folder, "metrics.json"), "/")
    return {
        name: float(value)
        for name, value in results.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def read_card(folder: Path) -> str:
    """Returns the bundle's model card for MLflow's page of a version, as far as every store of
    MLflow keeps it; '' of a bundle without one.
    """
    card = folder / "model_card.md"
    return card.read_text(errors="replace")[:5_000] if card.is_file() else ""
