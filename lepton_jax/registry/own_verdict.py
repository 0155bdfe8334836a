"""Which verdicts were made here. A bundle may bring one, and whoever made the bundle wrote it.

Each verdict of this user is noted in the cache, an empty file by the bundle's id and the digest of
the verdict. Without the note a bundle is verified again.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from lepton_jax.io.paths import cache_root
from lepton_jax.serving import loader


def note_verdict(identity: str, verdict: bytes) -> None:
    """Notes that a verdict on the bundle `identity` was made here."""
    with suppress(OSError):  # then it is made again
        _note_file(identity, verdict).parent.mkdir(parents=True, exist_ok=True)
        _note_file(identity, verdict).touch()


def is_own_verdict(folder: Path) -> bool:
    """Tells whether the verdict in a bundle's folder was made here, on this bundle.

    Raises:
      BundleError: when there is none to read.
    """
    verdict = loader.read_file(folder, loader.VERDICT, loader.MAX_JSON)
    return _note_file(loader.bundle_id(folder), verdict).exists()


def _note_file(identity: str, verdict: bytes) -> Path:
    key = f"{identity} {hashlib.sha256(verdict).hexdigest()}"
    return cache_root() / "verdicts" / hashlib.sha256(key.encode()).hexdigest()
