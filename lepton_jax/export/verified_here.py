"""Verifies a bundle before it is registered, unless that was done here."""

from lepton_jax.archive import bundle_folder
from lepton_jax.console import say
from lepton_jax.errors import WorkError
from lepton_jax.export.verify import verify_bundle
from lepton_jax.registry.verified import check_verified


def verify_unless_done(bundle: str) -> None:
    """Verifies the bundle in a folder or archive, unless its verdict is one that was made here.

    What it finds out is the bundle's verdict; whoever registers the bundle reads it.

    Raises:
      UserError: when there is no such folder or archive.
      WorkError: when the archive is refused, or the verdict cannot be kept.
    """
    refusal = check_verified(bundle_folder(bundle), bundle, own=True)
    if refusal is None or refusal.kind != "unverified":
        return
    say(f"{bundle} is verified first: no verdict on it was made here")
    verdict = verify_bundle(bundle)
    if verdict.ok and verdict.not_kept:
        raise WorkError(f"{bundle} is not registered: {verdict.not_kept}")
