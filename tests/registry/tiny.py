"""Bundles of a few bytes, verified as far as the registry can see: made in a millisecond."""

import json
from pathlib import Path

from lepton_jax.registry.own_verdict import note_verdict
from lepton_jax.serving import loader


def tiny_bundle(folder: Path, accuracy: float = 0.9, **signature: object) -> Path:
    """Makes a bundle that states an accuracy on `test`, by which bundles differ."""
    (folder / "programs").mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"test": {"accuracy": accuracy}}))
    (folder / "lineage.json").write_text("{}")
    (folder / "signature.json").write_text(json.dumps(signature))
    (folder / "programs/forward.bin").write_bytes(b"program")
    paths = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    (folder / loader.MANIFEST).write_bytes(loader.manifest_bytes(folder, paths))
    verdict = {"id": loader.bundle_id(folder), "ok": True, "checks": []}
    (folder / loader.VERDICT).write_text(json.dumps(verdict))
    note_verdict(verdict["id"], (folder / loader.VERDICT).read_bytes())
    return folder
