"""The keys that sign bundles: EC P-256, a private and a public one, each in a PEM file."""

import getpass
import hashlib
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError
from lepton_jax.installation import format_install
from lepton_jax.io import files

CURVE = "secp256r1"
"""The name that `cryptography` has for P-256."""

SHOWN = 16
"""Characters of a key's id that messages show."""


@dataclass(frozen=True)
class PublicKey:
    """A public key: its PEM text, and its id, the SHA-256 of that text as 64 hex digits."""

    id: str
    pem: str


@dataclass(frozen=True)
class KeyPair:
    """A new key: its two files, and its id."""

    private: str
    public: str
    id: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        following = format_command(f"trust add {self.public}", name="NAME")
        return (
            f"Key {self.id[:SHOWN]}: the private key is in {self.private} (keep it secret), the "
            f"public one in {self.public}\nnext: {following}"
        )


def make_key_pair(private: str) -> KeyPair:
    """Makes a key. Writes the private key to the file `private`, the public one beside it as .pub.

    Raises:
      UserError: when one of the files is there already, or cannot be written.
    """
    _, ec, serialization = load_cryptography()
    public = f"{os.path.splitext(private)[0]}.pub"
    for path in (private, public):
        if os.path.lexists(path):
            raise UserError(f"{path} is there already, and a key is never overwritten")
    files.check_can_make(os.path.dirname(private) or ".")
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files.make_dir(os.path.dirname(private) or ".")
    # From its first byte on nobody else may read it.
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    made = describe_key(key.public_key())
    files.write_text(public, made.pem)
    return KeyPair(private, public, made.id)


def read_private_key(path: str) -> Any:
    """Reads a private key; asks on the terminal for its password if it has one.

    Raises:
      UserError: when the file holds no private key of EC P-256, or its password is wrong.
    """
    _, ec, serialization = load_cryptography()
    data = files.read_bytes(path)
    if b"PUBLIC KEY" in data:
        raise UserError(f"{path} holds a public key; expected the private key of EC P-256")
    try:
        key = serialization.load_pem_private_key(data, _ask_password(path, data))
    except (ValueError, TypeError, UnicodeEncodeError):
        raise UserError(
            f"{path} holds no private key, or its password is wrong. {_cure()}"
        ) from None
    return _check_curve(key, ec.EllipticCurvePrivateKey, path)


def read_public_key(path: str) -> PublicKey:
    """Reads a public key.

    Raises:
      UserError: when the file holds no public key of EC P-256.
    """
    data = files.read_bytes(path)
    if b"PRIVATE KEY" in data:
        raise UserError(f"{path} holds a private key, which stays secret; expected the public one")
    return parse_public_key(data, path)


def parse_public_key(pem: bytes, where: str) -> PublicKey:
    """Parses the PEM text of a public key. Raises as `read_public_key`."""
    return describe_key(load_public_key(pem, where))


def load_public_key(pem: bytes, where: str) -> Any:
    """Returns the key of `cryptography` for a PEM text. Raises as `read_public_key`."""
    _, ec, serialization = load_cryptography()
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        raise UserError(f"{where} holds no public key in PEM form. {_cure()}") from None
    return _check_curve(key, ec.EllipticCurvePublicKey, where)


def describe_key(key: Any) -> PublicKey:
    """Returns the id and the PEM text of a public key of `cryptography`."""
    _, _, serialization = load_cryptography()
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PublicKey(hashlib.sha256(pem).hexdigest(), pem.decode())


def load_cryptography() -> tuple[Any, Any, Any]:
    """Returns the modules `hashes`, `ec` and `serialization` of the package cryptography.

    Raises:
      WorkError: when it is not installed.
    """
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        cure = format_install("cryptography")
        raise WorkError(f"signed bundles need the package cryptography: {cure}") from None
    return hashes, ec, serialization


def _check_curve(key: Any, kind: Any, where: str) -> Any:
    curve = getattr(getattr(key, "curve", None), "name", type(key).__name__)
    if not isinstance(key, kind) or curve != CURVE:
        raise UserError(f"{where} holds a key of {curve}; expected EC P-256. {_cure()}")
    return key


def _ask_password(path: str, pem: bytes) -> bytes | None:
    if b"ENCRYPTED" not in pem:
        return None
    if not sys.stdin.isatty():
        raise UserError(f"{path} has a password, and there is no terminal to ask for it")
    return getpass.getpass(f"password of {path}: ").encode()


def _cure() -> str:
    return f"A new key: {format_command('sign', new_key='FILE.pem')}"
