"""Removes a run or an experiment, unless it is in use or something else stands on it."""

import os
import shutil
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lepton_jax.errors import UserError, WorkError
from lepton_jax.formats import count_things, format_bytes
from lepton_jax.io import files
from lepton_jax.io.paths import cache_root
from lepton_jax.registry.store import Registry
from lepton_jax.registry.version import Version
from lepton_jax.serving import loader
from lepton_jax.tracking.claim import claim, read_owner
from lepton_jax.tracking.experiment_folder import describe_experiment, is_experiment
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.runs import experiment_of, list_runs


@dataclass(frozen=True)
class RemovedRuns:
    """Runs and experiments whose workdirs are gone."""

    workdirs: tuple[str, ...]
    bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"Removed {', '.join(self.workdirs)} ({format_bytes(self.bytes)})"

    __repr__ = __str__


def remove_runs(workdirs: Sequence[str], *, yes: bool) -> RemovedRuns:
    """Removes the workdirs of runs and of whole experiments, with all that lies in them. All are
    looked at before one goes.

    Raises:
      UserError: when one holds no run, is in use, is a trial of an experiment, holds other runs, or
        is what a registered version came from; or without `yes`, saying what would go.
    """
    for workdir in workdirs:
        _check_unneeded(workdir)
    sizes = {workdir: _measure(workdir) for workdir in workdirs}
    if not yes:
        told = (
            f"{workdir} ({_describe(workdir)}, {count_things(count, 'file')}, {format_bytes(size)})"
            for workdir, (count, size) in sizes.items()
        )
        raise UserError(
            f"runs rm would remove {', '.join(told)} for good; expected --yes",
            try_line=["runs", "rm", *workdirs, "--yes"],
        )
    for workdir in workdirs:
        with claim(workdir):  # no process begins to go on with it now
            try:
                shutil.rmtree(workdir)
            except OSError as e:
                raise WorkError(f"cannot remove {workdir}: {e.strerror}: {e.filename}") from e
    return RemovedRuns(tuple(workdirs), sum(size for _, size in sizes.values()))


def _check_unneeded(workdir: str) -> None:
    """Raises `UserError` where a workdir holds no run and no experiment, or one that is needed."""
    is_whole = _is_experiment_alone(workdir)
    records = _open_trials(workdir) if is_whole else [Record.open(workdir)]
    if not files.is_local(workdir) or os.path.islink(workdir):
        kind = "a link" if files.is_local(workdir) else "a bucket"
        raise UserError(f"runs rm {workdir}: it is {kind}; expected a folder of this machine")
    at_work = [workdir, *(_list_folders(workdir, "packs", "trials") if is_whole else ())]
    for owner in filter(None, map(read_owner, at_work)):
        if owner.lives():
            raise UserError(
                f"runs rm {workdir}: it is in use by host {owner.host}, pid {owner.pid}; stop that "
                "process first"
            )
    if experiment := experiment_of(workdir):
        raise UserError(
            f"runs rm {workdir}: it is a trial of the experiment in {experiment}, whose report "
            "reads it"
        )
    own = {"checkpoints", *(("trials", "packs") if is_whole else ())}
    if below := _list_runs_below(workdir, own):
        raise UserError(f"runs rm {workdir}: it holds other runs: {', '.join(below[:5])}")
    if versions := [v for v in _registered() if any(_came_from(v, r) for r in records)]:
        names = ", ".join(" ".join([v.name, *v.aliases]) for v in versions)
        raise UserError(
            f"runs rm {workdir}: the registered version {names} came from it, and is measured "
            "again on its data"
        )


def _is_experiment_alone(workdir: str) -> bool:
    """Tells whether a workdir is an experiment's, and not a run's as well."""
    return is_experiment(workdir) and not Record.exists(workdir)


def _describe(workdir: str) -> str:
    """Says how a run ended, or how large an experiment is."""
    if _is_experiment_alone(workdir):
        return describe_experiment(workdir)
    return str(Record(workdir).status().get("state", "lost"))


def _open_trials(workdir: str) -> list[Record]:
    """Opens the records of an experiment's trials, as far as they have begun."""
    return [Record.open(p) for p in _list_folders(workdir, "trials") if Record.exists(p)]


def _list_folders(workdir: str, *names: str) -> list[str]:
    """Lists what lies in these folders of a workdir."""
    there = [Path(workdir, name) for name in names if os.path.isdir(os.path.join(workdir, name))]
    return [str(path) for folder in there for path in sorted(folder.iterdir())]


def _list_runs_below(workdir: str, own: Container[str]) -> list[str]:
    """Lists the names of the runs in the folders of a workdir, but for its `own`."""
    folders = [p for p in Path(workdir).iterdir() if p.is_dir() and p.name not in own]
    return [str(row["name"]) for p in sorted(folders) for row in list_runs(str(p)).rows]


def _registered() -> Iterator[Version]:
    registry = Registry()
    for model in registry.models():
        yield from registry.versions(model)


def _came_from(version: Version, record: Record) -> bool:
    """Tells whether a version is a bundle that lies in the workdir of a record, or one of its run.

    The latter can be told where the registry's copy of the bundle was fetched once.
    """
    for bundle in (record.workdir, *map(str, Path(record.workdir).iterdir())):
        if os.path.exists(os.path.join(bundle, loader.MANIFEST)):
            try:
                if loader.bundle_id(bundle) == version.id:
                    return True
            except loader.BundleError:
                continue
    copy = cache_root() / "bundles" / version.id.removeprefix("sha256:")
    try:
        lineage = loader.read_object(copy, "lineage.json")
    except (loader.BundleError, OSError):
        return False
    start = record.provenance()
    return (lineage.get("config_fingerprint"), lineage.get("data_fingerprint")) == (
        start.get("fingerprint"),
        start.get("data_fingerprint"),
    )


def _measure(folder: str) -> tuple[int, int]:
    """Returns the number of files in a folder, and their bytes."""
    there = [os.path.join(path, name) for path, _, names in os.walk(folder) for name in names]
    return len(there), sum(os.lstat(file).st_size for file in there)
