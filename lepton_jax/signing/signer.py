"""Finds out who signed a bundle, before anything else of the bundle is parsed."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io.atomic import replace_file
from lepton_jax.serving import loader
from lepton_jax.signing.envelope import Envelope, is_signed_by, read_envelope, sign_payload
from lepton_jax.signing.keys import SHOWN, describe_key, read_private_key
from lepton_jax.signing.statement import listed_digests, read_digests, state_digests
from lepton_jax.signing.trust import TrustList, read_trust_list

SignerState = Literal["trusted", "unknown", "unsigned", "revoked", "invalid"]

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


def sign_folder(folder: Path, key_file: str) -> SignedBundle:
    """Signs the intact bundle in a folder, in the place of an earlier signature.

    Raises:
      UserError: when the file holds no private key, or the folder cannot be written.
      WorkError: when the bundle is not intact: nobody should answer for it.
    """
    key = read_private_key(key_file)
    if faults := loader.find_faults(folder):
        raise WorkError(f"{folder} is not signed: it is damaged: {faults[0]}")
    text = sign_payload(state_digests(folder), key)
    try:
        with replace_file(folder / loader.SIGNED) as file:
            file.write(text)
    except OSError as e:
        raise UserError(f"cannot write {folder / loader.SIGNED}: {e.strerror}") from None
    id_ = describe_key(key.public_key()).id
    known = read_trust_list().find(id_)
    return SignedBundle(loader.bundle_id(folder), str(folder), id_, known.name if known else "")


def find_signer(folder: Path) -> Signer:
    """Finds out who signed the bundle in a folder.

    The order is: the signature, with a key of the list of trusted keys; what it signs; and only
    then the bundle's manifest. The files themselves are compared with the manifest elsewhere.

    Raises:
      UserError, WorkError: when the list of trusted keys cannot be read.
    """
    if not os.path.lexists(folder / loader.SIGNED):
        return Signer("unsigned")
    try:
        envelope = read_envelope(loader.read_object(folder, loader.SIGNED))
    except (loader.BundleError, ValueError) as e:
        said = str(e).removeprefix(f"{folder}/").removeprefix(f"{loader.SIGNED}: ")
        return Signer("invalid", detail=f"{loader.SIGNED} cannot be read: {said}")
    return _judge(folder, envelope, read_trust_list())


def describe_signer(key: str) -> Signer:
    """Describes the signer of a bundle that is not at hand, by the id of the key that it names."""
    if not key:
        return Signer("unsigned")
    known = read_trust_list().find(key)
    if known is None:
        return Signer("unknown", key)
    return Signer("revoked" if known.revoked else "trusted", key, known.name)


def _judge(folder: Path, envelope: Envelope, trusted: TrustList) -> Signer:
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
        difference = _find_difference(folder, read_digests(envelope.payload))
    except (loader.BundleError, ValueError, LookupError, TypeError, RecursionError) as e:
        difference = f"what is signed cannot be read ({type(e).__name__}: {e!s:.120})"
    if difference:
        return Signer("invalid", made.id, made.name, difference)
    return Signer("trusted", made.id, made.name)


def _find_difference(folder: Path, signed: dict[str, str]) -> str:
    """Says how a bundle's manifest differs from the digests that were signed; '' if it does not."""
    if loader.bundle_id(folder) != f"sha256:{signed.pop(loader.MANIFEST, '')}":
        return f"another {loader.MANIFEST} was signed"
    listed = listed_digests(loader.read_object(folder, loader.MANIFEST))
    for path in sorted(listed.keys() | signed.keys()):
        if listed.get(path) != signed.get(path):
            return f"another {path!r:.80} was signed"
    return ""
