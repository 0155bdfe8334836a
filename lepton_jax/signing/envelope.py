"""The file of a signature: a Sigstore bundle of version 0.3 around a DSSE envelope, as JSON.

It holds a payload, the signature of the payload, and the id of the key that made it.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

from lepton_jax.signing.keys import describe_key, load_cryptography, load_public_key

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Envelope:
    """A payload, its signature, and the id of the key; '' where the file names none."""

    key: str
    payload: bytes
    signature: bytes


def sign_payload(payload: bytes, private_key: Any) -> bytes:
    """Signs a payload. Returns the file; the same payload and key give the same bytes."""
    hashes, ec, _ = load_cryptography()
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    signature = private_key.sign(_signed_bytes(payload), algorithm)
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": describe_key(private_key.public_key()).id},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def read_envelope(document: dict[str, Any]) -> Envelope:
    """Takes the parts out of the file's JSON. Raises `ValueError` naming what has another form."""

    def part(value: Any, name: str, kind: type) -> Any:
        inner = value.get(name)
        if not isinstance(inner, kind):
            raise ValueError(f"{name!r} is missing or of another form")
        return inner

    if document.get("mediaType") != MEDIA_TYPE:
        raise ValueError(f"'mediaType' is not {MEDIA_TYPE}")
    material = part(document, "verificationMaterial", dict)
    if "publicKey" not in material:
        raise ValueError("it is not signed with a key (a certificate cannot be checked here)")
    envelope = part(document, "dsseEnvelope", dict)
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise ValueError(f"'payloadType' is not {PAYLOAD_TYPE}")
    signatures = part(envelope, "signatures", list)
    if len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise ValueError("expected one signature")
    hint = part(material, "publicKey", dict).get("hint") or ""
    if not isinstance(hint, str) or set(hint) - set("0123456789abcdef") or len(hint) not in (0, 64):
        raise ValueError("'hint' is no id of a key")
    return Envelope(
        hint,
        base64.b64decode(part(envelope, "payload", str), validate=True),
        base64.b64decode(part(signatures[0], "sig", str), validate=True),
    )


def is_signed_by(envelope: Envelope, pem: str) -> bool:
    """Tells whether the public key in a PEM text made the signature of an envelope."""
    hashes, ec, _ = load_cryptography()
    from cryptography.exceptions import InvalidSignature

    key = load_public_key(pem.encode(), "the list of trusted keys")
    try:
        key.verify(envelope.signature, _signed_bytes(envelope.payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _signed_bytes(payload: bytes) -> bytes:
    """Returns what is signed of a payload: DSSE puts its type and the lengths before it."""
    head = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} "
    return head.encode() + payload
