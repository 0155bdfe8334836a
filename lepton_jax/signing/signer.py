"""Finds out who signed a bundle, before anything else of the bundle is parsed."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io.atomic import is_leftover, replace_file
from lepton_jax.serving import loader
from lepton_jax.signing.attestation import (
    Replays,
    find_false_statement,
    read_replays,
    state_making,
)
from lepton_jax.signing.envelope import Envelope, is_signed_by, read_envelope, sign_payload
from lepton_jax.signing.keys import SHOWN, describe_key, read_private_key
from lepton_jax.signing.statement import listed_digests, read_digests, state_digests
from lepton_jax.signing.trust import TrustList, read_trust_list

SignerState = Literal["trusted", "unknown", "unsigned", "revoked", "invalid"]

UNREADABLE = (ValueError, LookupError, TypeError, RecursionError)
"""What reading a statement of another form raises."""

REFUSED: tuple[SignerState, ...] = ("revoked", "invalid")
"""States in which a bundle is never used."""


@dataclass(frozen=True)
class Signer:
    """Who signed a bundle, as far as this machine can tell.

    'trusted': a key of the list did, and every file is as it was signed. 'unknown': a key that is
    not in the list is said to have done it, which cannot be checked. 'revoked': the key's owner or
    this user has ended the trust in it. 'invalid': the signature is not that of the key, or of
    other files.
    """

    state: SignerState
    key: str = ""
    """The key's id; '' where no key is named."""
    name: str = ""
    """Whose the key is, by the list of trusted keys."""
    detail: str = ""
    """Why the state is what it is."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def cure(self, bundle: object) -> str:
        """Returns what helps where a signature of a trusted key is demanded of `bundle`."""
        match self.state:
            case "unsigned":
                return f"sign it: {format_command('sign', bundle=bundle, key='FILE.pem')}"
            case "unknown":
                return f"add the key, if it is right: {format_command('trust add FILE.pub')}"
            case "revoked":
                return "have it signed with another key"
        return "do not use it; get the bundle anew from whoever signed it"

    def short(self) -> str:
        """Returns a table's cell: `alice`, `alice (revoked)`, `key 3a69acb8c2eee215`, `-`."""
        end = "" if self.state in ("trusted", "unsigned") else f" ({self.state})"
        return (self.name or (f"key {self.key[:SHOWN]}" if self.key else "-")) + end

    def __str__(self) -> str:
        who = f"{self.name} (key {self.key[:SHOWN]})" if self.name else f"key {self.key[:SHOWN]}"
        match self.state:
            case "unsigned":
                return "not signed"
            case "trusted":
                return f"by {who}, which is trusted here"
            case "unknown":
                return f"by {who}, which is not among the trusted keys here: it cannot be checked"
        return f"by {who}: {self.detail}" if self.key else self.detail


@dataclass(frozen=True)
class SignedBundle:
    """A bundle that was signed."""

    id: str
    path: str
    key: str
    """The id of the key."""
    signer: str
    """Whose the key is, by the list of trusted keys; '' of one that is not in it."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        who = f" ({self.signer})" if self.signer else ", which is not among the trusted keys here"
        following = format_command("verify --signed", bundle=self.path)
        return f"Signed {self.id}\nwith key {self.key[:SHOWN]}{who}; next: {following}"


def sign_folder(folder: Path, key_file: str, replays: Replays = ()) -> SignedBundle:
    """Signs the intact bundle in a folder, in the place of an earlier signature.

    What is signed are its files (`model.sig`), and what it says of its making together with the
    `replays` of its run that the signer made (`provenance.sig`).

    Raises:
      UserError: when the file holds no private key, or the folder cannot be written.
      WorkError: when the bundle is not intact: nobody should answer for it.
    """
    key = read_private_key(key_file)
    tidy_bundle(folder)
    if faults := loader.find_faults(folder):
        raise WorkError(f"{folder} is not signed: it is damaged: {faults[0]}")
    try:
        statements = {
            loader.SIGNED: state_digests(folder),
            loader.ATTESTED: state_making(folder, replays),
        }
    except (loader.BundleError, LookupError, TypeError, AttributeError) as e:
        said = f"it says nothing of its making that can be read ({e!s:.120})"
        raise WorkError(f"{folder} is not signed: {said}") from None
    for name, statement in statements.items():
        try:
            with replace_file(folder / name) as file:
                file.write(sign_payload(statement, key))
        except OSError as e:
            raise UserError(f"cannot write {folder / name}: {e.strerror}") from None
    id_ = describe_key(key.public_key()).id
    known = read_trust_list().find(id_)
    return SignedBundle(loader.bundle_id(folder), str(folder), id_, known.name if known else "")


def tidy_bundle(folder: Path) -> None:
    """Removes what a `sign` or a `verify` that was killed while it wrote left in a bundle."""
    written = tuple(f".{name}." for name in (loader.VERDICT, loader.SIGNED, loader.ATTESTED))
    with suppress(OSError):
        for name in os.listdir(folder):
            if is_leftover(name) and name.startswith(written):
                os.remove(folder / name)


def find_signer(folder: Path) -> Signer:
    """Finds out who signed the bundle in a folder.

    The order is: the signature, with a key of the list of trusted keys; what it signs; and only
    then the bundle's manifest. The files themselves are compared with the manifest elsewhere.

    Raises:
      UserError, WorkError: when the list of trusted keys cannot be read.
    """
    return _find(folder, loader.SIGNED, _find_difference)[0]


def find_attester(folder: Path) -> tuple[Signer, Replays]:
    """Finds out who states how the bundle in a folder was made, and what they replayed.

    The statement must say what the bundle says of itself. Replays are those of a trusted key alone.

    Raises:
      UserError, WorkError: when the list of trusted keys cannot be read.
    """
    signer, payload = _find(folder, loader.ATTESTED, find_false_statement)
    return signer, read_replays(payload) if signer.state == "trusted" else ()


def _find(
    folder: Path, name: str, find_difference: Callable[[Path, bytes], str]
) -> tuple[Signer, bytes]:
    """Finds out who signed the statement in a file of a bundle; returns the statement too."""
    if not os.path.lexists(folder / name):
        return Signer("unsigned"), b""
    try:
        envelope = read_envelope(loader.read_object(folder, name))
    except (loader.BundleError, ValueError) as e:
        said = str(e).removeprefix(f"{folder}/").removeprefix(f"{name}: ")
        return Signer("invalid", detail=f"{name} cannot be read: {said}"), b""
    return _judge(folder, envelope, read_trust_list(), find_difference), envelope.payload


def describe_signer(key: str) -> Signer:
    """Describes the signer of a bundle that is not at hand, by the id of the key that it names."""
    if not key:
        return Signer("unsigned")
    known = read_trust_list().find(key)
    if known is None:
        return Signer("unknown", key)
    return Signer("revoked" if known.revoked else "trusted", key, known.name)


def _judge(
    folder: Path,
    envelope: Envelope,
    trusted: TrustList,
    find_difference: Callable[[Path, bytes], str],
) -> Signer:
    tried = [key for key in trusted.keys if envelope.key in ("", key.id)]
    made = next((key for key in tried if is_signed_by(envelope, key.public_key)), None)
    if made is None and envelope.key and tried:
        said = "the signature is not that of this key"
        return Signer("invalid", envelope.key, tried[0].name, said)
    if made is None:
        return Signer("unknown", envelope.key)
    if made.revoked:
        why = f" ({made.reason})" if made.reason else ""
        return Signer("revoked", made.id, made.name, f"the key was revoked {made.revoked}{why}")
    try:
        difference = find_difference(folder, envelope.payload)
    except (loader.BundleError, AttributeError, *UNREADABLE) as e:
        difference = f"what is signed cannot be read ({type(e).__name__}: {e!s:.120})"
    if difference:
        return Signer("invalid", made.id, made.name, difference)
    return Signer("trusted", made.id, made.name)


def _find_difference(folder: Path, payload: bytes) -> str:
    """Says how a bundle's manifest differs from the digests that were signed; '' if it does not."""
    signed = read_digests(payload)
    if loader.bundle_id(folder) != f"sha256:{signed.pop(loader.MANIFEST, '')}":
        return f"another {loader.MANIFEST} was signed"
    listed = listed_digests(loader.read_object(folder, loader.MANIFEST))
    for path in sorted(listed.keys() | signed.keys()):
        if listed.get(path) != signed.get(path):
            return f"another {path!r:.80} was signed"
    return ""
