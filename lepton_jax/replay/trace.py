"""Walks back from a bundle: who signed it, which run it is of, and what that was made from."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax.archive import bundle_folder
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io.forms import check_object
from lepton_jax.registry import history
from lepton_jax.registry.store import Registry
from lepton_jax.registry.verified import check_signed
from lepton_jax.replay.conditions import list_changes
from lepton_jax.serving import loader
from lepton_jax.signing.attestation import describe_replays
from lepton_jax.signing.signer import Signer, find_attester, find_signer
from lepton_jax.tracking.provenance import collect_provenance, digest_package
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.runs import find_records
from lepton_jax.tracking.state_chain import StateFile
from lepton_jax.training.checkpoint_files import list_steps


@dataclass(frozen=True)
class Trace:
    """The way back from a bundle, as far as it is known here."""

    what: str
    """What was asked for: 'digits@production', or the bundle's path."""
    version: str
    """'digits/3, registered ...'; '' of a bundle that was not looked for in the registry."""
    moves: tuple[str, ...]
    """The decisions that the registry holds on this version."""
    id: str
    folder: Path
    signer: Signer
    attester: Signer
    replays: tuple[Mapping[str, Any], ...]
    lineage: Mapping[str, Any]
    """What the bundle says of its making."""
    workdir: str
    """The record of its run here; '' where there is none."""
    provenance: Mapping[str, Any]
    """Of the part of the run that led to the bundle's step; {} without the record."""
    changes: tuple[str, ...]
    """What the numbers depend on and is other here."""

    @property
    def step(self) -> int:
        return int(self.lineage["step"])

    @property
    def command(self) -> str:
        """The command that made it; paths are left out where the record is not here."""
        return str(self.provenance.get("command") or self.lineage.get("command") or "")

    @property
    def same_code(self) -> bool:
        """Whether the code of lepton_jax here is that of the run."""
        known = self.provenance.get("package") or self.lineage.get("package")
        return known == digest_package()

    @property
    def code(self) -> Mapping[str, Any]:
        """The commit of lepton_jax, and the digest of what was not committed; {}: not known."""
        said = self.provenance or self.lineage
        return said.get("harness_code") or said.get("code") or {}

    def as_json(self) -> dict[str, Any]:
        return {
            **{"what": self.what, "version": self.version, "moves": list(self.moves)},
            **{"id": self.id, "signer": self.signer.as_json()},
            **{"attester": self.attester.as_json(), "replays": list(self.replays)},
            **{"lineage": self.lineage, "workdir": self.workdir, "command": self.command},
            **{"same_code": self.same_code, "changes": list(self.changes)},
        }

    def __str__(self) -> str:
        said, chain = self.lineage, self.lineage.get("chain") or {}
        rows = [("version", self.version)] if self.version else []
        rows += [("", move) for move in self.moves]
        rows += [("bundle", self.id), ("signed", str(self.signer))]
        if self.attester.state != "unsigned":
            rows.append(("attested", f"{self.attester}; {describe_replays(self.replays)}"))
        where = f"of {self.workdir}" if self.workdir else "of a run whose record is not here"
        rows.append(("run", f"step {self.step:,} {where}"))
        if chain:
            rows.append(("chain", f"{chain.get('link')!s:.64}, the last line of states.jsonl then"))
        rows.append(("config", f"fingerprint {said.get('config_fingerprint')!s:.64}"))
        rows.append(("data", f"fingerprint {said.get('data_fingerprint')!s:.64}"))
        rows.append(("code", self._say_code()))
        rows += [("here" if not i else "", change) for i, change in enumerate(self.changes)]
        rows.append(("command", self.command or "not known"))
        lines = [self.what, *(f"  {name:<9} {_printable(text)}" for name, text in rows)]
        again = f"trace {shlex.quote(self.what)} --rebuild"
        if not self.version:
            again = f"trace --bundle={shlex.quote(self.what)} --rebuild"
        return "\n".join([*lines, f"next: {format_command(again, out='DIR')}"])

    __repr__ = __str__

    def _say_code(self) -> str:
        if self.same_code:
            return "lepton_jax as it is here"
        if not self.code.get("commit"):
            return "another lepton_jax, in no git repository"
        changed = " with uncommitted changes" if self.code.get("diff_sha256") else ""
        return f"lepton_jax of commit {self.code['commit']!s:.40}{changed}"


def _printable(text: str) -> str:
    """Returns a bundle's own words as a terminal may have them."""
    return text if text.isprintable() else ascii(text)


def trace_model(reference: str, runs: str) -> Trace:
    """Walks back from a version of the registry.

    Args:
      reference: 'NAME@ALIAS', 'NAME/VERSION' or 'NAME'.
      runs: a folder below which the record of the run is looked for.

    Raises:
      UserError: when there is no such version.
      WorkError: when its bundle is damaged or its signature is refused.
    """
    registry = Registry()
    version = registry.resolve(reference)
    folder = registry.fetch(version)
    moves = tuple(
        f"{event['time']}  {history.say_event(event)}"
        for event in registry.events(version.model)
        if event.get("version") == version.version
    )
    said = f"{version.name}, registered {version.created}"
    return _trace(reference, folder, version.id, runs, said, moves)


def trace_bundle(bundle: str, runs: str) -> Trace:
    """Walks back from a bundle's folder or archive. Arguments and errors as `trace_model`."""
    folder = bundle_folder(bundle)
    if faults := loader.find_faults(folder):
        raise WorkError(f"{bundle} is damaged: {faults[0]}")
    return _trace(bundle, folder, loader.bundle_id(folder), runs, "", ())


def _trace(
    what: str, folder: Path, identity: str, runs: str, version: str, moves: tuple[str, ...]
) -> Trace:
    if refusal := check_signed(folder, demanded=False):
        raise WorkError(f"{what} is not traced: {refusal}")
    attester, replays = find_attester(folder)
    try:
        lineage = loader.read_object(folder, "lineage.json")
        check_object(
            lineage, "lineage.json", step=int, config=dict, command=str | None, chain=dict | None,
            code=dict | None, harness_code=dict | None, packages=dict | None,
            devices=dict | None, variables=dict | None, components=dict | None,
        )  # fmt: skip
    except (loader.BundleError, WorkError) as e:
        raise WorkError(f"{what} says nothing of its making that can be read: {e!s:.200}") from None
    workdir = _find_record(lineage, runs)
    provenance = _provenance_of(workdir, lineage["step"]) if workdir else {}
    return Trace(
        what, version, moves, identity, folder, find_signer(folder), attester, tuple(replays),
        lineage, workdir, provenance, tuple(_changes(lineage, provenance)),
    )  # fmt: skip


def _find_record(lineage: Mapping[str, Any], runs: str) -> str:
    """Returns the workdir of the run that a bundle is of; '' where it is not below `runs`.

    The chain of digests tells runs apart; of bundles without it, the fingerprints and the step do.
    """
    if not os.path.isdir(runs):
        return ""
    chain = lineage.get("chain") or {}
    for workdir, _ in find_records(runs, ""):
        try:
            if chain:
                links = {link.step: link.link for link in StateFile(workdir).links()}
                if links.get(chain["step"]) == chain["link"]:
                    return workdir
                continue
            provenance = Record.open(workdir, writes=False).provenance()
        except (UserError, WorkError, LookupError, TypeError):
            continue
        names = {"fingerprint": "config_fingerprint", "data_fingerprint": "data_fingerprint"}
        same = all(provenance.get(own) == lineage.get(its) for own, its in names.items())
        if same and lineage["step"] in list_steps(workdir):
            return workdir
    return ""


def _provenance_of(workdir: str, step: int) -> dict[str, Any]:
    """Returns what provenance.json says of the start that led to a step."""
    first, *restarts = Record.open(workdir, writes=False).starts()
    begun = [first, *(s for s in restarts if s["step"] < step)]
    return begun[-1]


def _changes(lineage: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[str]:
    """Lists what the numbers depend on and is other here than it was."""
    import jax  # noqa: F401  whose devices the provenance then names

    was, now = provenance or lineage, collect_provenance([])
    if not provenance:  # a bundle names few packages
        packages = lineage.get("packages") or {}
        now["packages"] = {k: v for k, v in now["packages"].items() if k in packages}
    now["components"] = was.get("components") or {}  # they are compared when they are imported
    return list_changes(was, now)
