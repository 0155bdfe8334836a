"""What is stated of a bundle's making: a statement of in-toto with SLSA's provenance, version 1.

It binds the bundle's id to the config, the data, the code, the environment and the chain of
digests of the run, all as the bundle's lineage.json has them, and to the replays that the signer
made. It lies in the bundle as `provenance.sig`, signed like `model.sig`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lepton_jax.serving import loader
from lepton_jax.signing.statement import STATEMENT_TYPE, listed_digests

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:lepton_jax:train:v1"
BUILDER = "urn:lepton_jax"

Replays = Sequence[Mapping[str, Any]]
"""What was replayed, and how it was drawn: `{"spans": [[0, 10]], "all_spans": 4, ...}` each."""


def state_making(folder: Path, replays: Replays) -> bytes:
    """Returns the statement about an intact bundle; the same bundle and replays give the same.

    Raises:
      BundleError: when the bundle states nothing of its making that can be read.
    """
    lineage = loader.read_object(folder, "lineage.json")
    identity = loader.bundle_id(folder)
    listed = listed_digests(loader.read_object(folder, loader.MANIFEST))
    subjects = {loader.MANIFEST: identity.removeprefix("sha256:")}
    subjects |= {n: d for n, d in listed.items() if n == loader.WEIGHTS}
    chain = lineage.get("chain") or {}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": n, "digest": {"sha256": d}} for n, d in subjects.items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    k: lineage.get(k)
                    for k in ("command", "config", "config_fingerprint", "seed", "step")
                },
                "internalParameters": {
                    k: lineage.get(k)
                    for k in ("devices", "platform", "processor", "variables", "visible_cpus")
                },
                "resolvedDependencies": list(_dependencies(lineage)),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": lineage.get("packages")},
                "metadata": {"invocationId": chain.get("link", "")},
                "byproducts": [
                    *({"name": k, "digest": {"sha256": chain[k]}} for k in ("metrics", "state")
                      if k in chain),
                    *({"name": "replay", "annotations": dict(replay)} for replay in replays),
                ],
            },
        },
    }  # fmt: skip
    return json.dumps(statement, indent=1, sort_keys=True).encode()


def read_replays(payload: bytes) -> list[dict[str, Any]]:
    """Reads the replays that a statement names.

    Raises:
      ValueError, LookupError, TypeError, AttributeError, RecursionError: when it is none.
    """
    statement = loader.parse_json(payload)
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise ValueError("it is no statement about the making of a model")
    byproducts = statement["predicate"]["runDetails"]["byproducts"]
    return [dict(b["annotations"]) for b in byproducts if b["name"] == "replay"]


def find_false_statement(folder: Path, payload: bytes) -> str:
    """Says in what a statement differs from what the bundle says of itself; '' if in nothing."""
    said = loader.parse_json(payload)
    true = loader.parse_json(state_making(folder, read_replays(payload)))
    different = _first_difference(true, said)
    return f"{different} is not that of this bundle" if different else ""


def describe_replays(replays: Replays) -> str:
    """Says what was replayed: '3 of 8 spans were replayed, the same to the bit'."""
    if not replays:
        return "nothing was replayed"
    last = replays[-1]
    spans, same = last.get("spans"), last.get("compared") == "bits"
    count = len(spans) if isinstance(spans, list) else 0
    how = "the same to the bit" if same else "within the tolerance"
    return f"{count} of {last.get('all_spans')!s:.20} spans were replayed, {how}"


def _dependencies(lineage: Mapping[str, Any]) -> Any:
    """Yields what the run was made from, as SLSA's resource descriptors."""
    yield {"name": "data", "annotations": {"fingerprint": lineage.get("data_fingerprint")}}
    yield {"name": "package", "digest": {"sha256": lineage.get("package")}}
    for name in ("code", "harness_code"):
        if code := lineage.get(name):
            diff = {"diff_sha256": code.get("diff_sha256")}
            yield {"name": name, "digest": {"gitCommit": code.get("commit")}, "annotations": diff}
    for name, digest in sorted((lineage.get("components") or {}).items()):
        yield {"name": f"component {name}", "digest": {"sha256": digest}}


def _first_difference(true: Any, said: Any, path: str = "") -> str:
    """Returns the path of the first place at which two JSON values differ; '' if at none."""
    if isinstance(true, dict) and isinstance(said, dict):
        for key in sorted({*true, *said}, key=str):
            where = f"{path}.{key}" if path else str(key)
            if key not in true or key not in said:
                return where
            if found := _first_difference(true[key], said[key], where):
                return found
        return ""
    if isinstance(true, list) and isinstance(said, list) and len(true) == len(said):
        pairs = enumerate(zip(true, said, strict=True))
        return next((f for i, p in pairs if (f := _first_difference(*p, f"{path}[{i}]"))), "")
    return "" if type(true) is type(said) and true == said else path or "it"
