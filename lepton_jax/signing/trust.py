"""The public keys that this machine trusts, each under a name: a JSON file of the user's.

A key that is revoked stays in the list, so that what it signed is refused and not merely unknown.
A statement holds no time that can be checked, so a key is revoked for all that it ever signed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from lepton_jax.console import format_command, format_table
from lepton_jax.errors import UserError, WorkError, did_you_mean
from lepton_jax.io import files
from lepton_jax.io.forms import check_object
from lepton_jax.io.lock import lock_path
from lepton_jax.io.paths import trust_file
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.signing.keys import SHOWN, read_public_key

FORMAT_VERSION = 1


@dataclass(frozen=True)
class TrustedKey:
    """A key of the list, and whose it is. `revoked` is the time at which trust in it ended."""

    id: str
    name: str
    public_key: str
    added: str
    revoked: str | None = None
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name} (key {self.id[:SHOWN]})"


@dataclass(frozen=True)
class TrustList:
    """Every key that this machine trusts or has revoked, the oldest first."""

    path: str
    keys: tuple[TrustedKey, ...]
    note: str = ""
    """What has just been changed."""

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "keys": [asdict(key) for key in self.keys]}

    def find(self, id: str) -> TrustedKey | None:
        """Returns the key with an id; None of a key that was never added."""
        return next((key for key in self.keys if key.id == id), None)

    def __str__(self) -> str:
        rows = [(k.name, k.id[:SHOWN], k.added, _say_state(k)) for k in self.keys]
        lines = [self.note] if self.note else []
        lines += format_table([("name", "key", "added", ""), *rows]) if rows else ["no keys yet"]
        hint = "verify --bundle=DIR --signed" if rows else "trust add FILE.pub --name=NAME"
        return "\n".join([*lines, f"The list is {self.path}; next: {format_command(hint)}"])


def read_trust_list() -> TrustList:
    """Reads the list; without a file there are no keys.

    Raises:
      UserError: when this user may not read it.
      WorkError: when it is damaged.
    """
    path = str(trust_file())
    if not files.exists(path):
        return TrustList(path, ())
    cure = "Put the file back, or remove it and add the keys again"
    document = files.read_object(path, cure=cure, format_version=int, keys=list[dict])
    if document["format_version"] != FORMAT_VERSION:
        raise WorkError(f"{path}: a newer lepton_jax wrote this list of keys; update lepton_jax")
    texts = dict.fromkeys(("id", "name", "public_key", "added", "reason"), str)
    for key in document["keys"]:
        check_object(key, path, **texts, revoked=str | None)
    keys = tuple(
        TrustedKey(**{k: key.get(k) for k in (*texts, "revoked")}) for key in document["keys"]
    )
    return TrustList(path, keys)


def add_key(file: str, name: str) -> TrustList:
    """Adds the public key in a PEM file to the list, under the name of whose it is.

    Raises:
      UserError: when the file holds no public key, or the key is in the list.
    """
    key = read_public_key(file)
    with _changing() as old:
        if known := old.find(key.id):
            state = (
                f"was revoked on {known.revoked}: make a new key" if known.revoked else "is there"
            )
            raise UserError(f"{file}: {known} {state}")
        added = TrustedKey(key.id, name, key.pem, utc_timestamp())
        return _write(old, (*old.keys, added), f"Trusted from now on: {added}")


def revoke_key(wanted: str, reason: str) -> TrustList:
    """Ends the trust in a key, for all that it ever signed.

    Args:
      wanted: the key's id or its beginning, or the name of whose it is.

    Raises:
      UserError: when no key, or more than one that is still trusted, is meant.
    """
    with _changing() as old:
        meant = [k for k in old.keys if k.name == wanted or (wanted and k.id.startswith(wanted))]
        trusted = [k for k in meant if not k.revoked]
        if not meant:
            names = [k.name for k in old.keys]
            hint = did_you_mean(wanted, names)
            there = ", ".join(map(str, old.keys)) or "none"
            raise UserError(f"trust revoke {wanted}: no such key{hint}; there are: {there}")
        if not trusted:
            raise UserError(f"trust revoke {wanted}: {meant[0]} is revoked already")
        if len(trusted) > 1:
            there = ", ".join(map(str, trusted))
            raise UserError(f"trust revoke {wanted}: expected one key, there are: {there}")
        revoked = replace(trusted[0], revoked=utc_timestamp(), reason=reason)
        keys = tuple(revoked if k.id == revoked.id else k for k in old.keys)
        return _write(old, keys, f"Revoked: {revoked}; what it signed is refused from now on")


def _say_state(key: TrustedKey) -> str:
    if not key.revoked:
        return "trusted"
    return f"revoked {key.revoked}" + (f": {key.reason}" if key.reason else "")


@contextmanager
def _changing() -> Iterator[TrustList]:
    """Yields the list while no other process changes it."""
    folder = os.path.dirname(trust_file())
    files.make_dir(folder)
    with lock_path(folder):
        yield read_trust_list()


def _write(old: TrustList, keys: tuple[TrustedKey, ...], note: str) -> TrustList:
    document = {"format_version": FORMAT_VERSION, "keys": [asdict(key) for key in keys]}
    files.write_json(old.path, document)
    return TrustList(old.path, keys, note)
