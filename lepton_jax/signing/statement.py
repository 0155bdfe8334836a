"""What is signed of a bundle: the SHA-256 of each of its files, as a statement of in-toto.

The form is that of the OpenSSF's model signing, version 1.0, so that its tool can check a bundle.
The statement lies in the bundle as `model.sig`, which the manifest does not list: to sign a bundle
leaves its id as it is.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from lepton_jax.serving import loader

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"

UNSIGNED = frozenset({loader.SIGNED, loader.ATTESTED, loader.VERDICT})
"""Files of a bundle that a statement leaves out: the statements, and the verdict, which comes and
goes."""


def state_digests(folder: Path) -> bytes:
    """Returns the statement about an intact bundle. The same bundle gives the same bytes."""
    identity = loader.bundle_id(folder)
    listed = listed_digests(loader.read_object(folder, loader.MANIFEST))
    listed[loader.MANIFEST] = identity.removeprefix("sha256:")
    digests = {name: listed[name] for name in sorted(listed)}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": identity, "digest": {"sha256": _root_digest(digests)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": sorted(UNSIGNED),
            },
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest}
                for name, digest in digests.items()
            ],
        },
    }
    return json.dumps(statement, indent=1).encode()


def read_digests(payload: bytes) -> dict[str, str]:
    """Reads a statement: the digest of each file that it names, by path, without `UNSIGNED`.

    Raises:
      ValueError, LookupError, TypeError, RecursionError: when it is none, or contradicts itself.
    """
    statement = loader.parse_json(payload)
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise ValueError("it is no statement about the files of a model")
    method = statement["predicate"]["serialization"]
    if (method["method"], method["hash_type"]) != ("files", "sha256"):
        raise ValueError("expected the SHA-256 of each file")
    digests: dict[str, str] = {}
    for resource in statement["predicate"]["resources"]:
        name, digest = resource["name"], resource["digest"]
        if not isinstance(name, str) or name in digests or resource["algorithm"] != "sha256":
            raise ValueError(f"the file {name!r:.60} is there twice, or has no SHA-256")
        digests[name] = bytes.fromhex(digest).hex()
    (subject,) = statement["subject"]
    if subject["digest"]["sha256"] != _root_digest(digests):
        raise ValueError("its digest over all files is another one")
    return {name: digest for name, digest in digests.items() if name not in UNSIGNED}


def listed_digests(manifest: dict[str, Any]) -> dict[str, str]:
    """Returns the digest of each file that a manifest lists, by path."""
    return {file["path"]: file["sha256"] for file in manifest["files"]}


def _root_digest(digests: dict[str, str]) -> str:
    """Returns one digest over the digests of all files, in the order in which they are stated."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()
