"""Packs: trials that share a program, handed out together, and what has become of them.

    W/trials/NAME/     a trial's own record, as if it had been trained alone
    W/packs/ID/        pack.json says which trials; while it runs, its checkpoints

An executor needs nothing but the folder of a pack.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.analysis.results import TrialState
from lepton_jax.ablation.question.trials import Trial
from lepton_jax.config.config import Config
from lepton_jax.config.validation import validate
from lepton_jax.tracking import files
from lepton_jax.tracking.claim import owner_of
from lepton_jax.tracking.record import Record

MOST = 256
"""Trials in a pack; how many of them run at once is measured."""


@dataclass(frozen=True)
class Pack:
    """Trials of one program, as they are handed to a process."""

    folder: str
    names: tuple[str, ...]
    workdirs: tuple[str, ...]
    configs: tuple[Config, ...]
    at_once: str
    """'auto': as measured; 'serial': one after another; or a number of lanes."""
    until: int = 0
    """Steps after which its trials stop, to be looked at; 0: at their end."""

    @property
    def finished(self) -> bool:
        return files.exists(files.join_path(self.folder, "finished.json"))

    @property
    def runs(self) -> bool:
        """Whether a process is at it."""
        owner = owner_of(self.folder) if files.is_dir(self.folder) else None
        return owner is not None and owner.lives()

    def write(self) -> None:
        files.make_dir(self.folder)
        lanes = [
            {"name": n, "workdir": w, "config": c.to_dict()}
            for n, w, c in zip(self.names, self.workdirs, self.configs, strict=True)
        ]
        value = {"at_once": self.at_once, "until": self.until, "lanes": lanes}
        files.write_json(files.join_path(self.folder, "pack.json"), value)


def read(folder: str) -> Pack:
    """The pack in a folder. Raises `WorkError` when its file is damaged."""
    found = files.read_json(files.join_path(folder, "pack.json"))
    lanes = found["lanes"]
    return Pack(
        folder,
        tuple(lane["name"] for lane in lanes),
        tuple(lane["workdir"] for lane in lanes),
        tuple(validate(lane["config"], lane["name"]) for lane in lanes),
        found["at_once"],
        found["until"],
    )


@dataclass(frozen=True)
class Due:
    """A trial that is to run now."""

    trial: Trial
    until: int = 0
    """As in `Pack`."""


def begun(workdir: str, names: Collection[str]) -> list[Pack]:
    """The packs that were begun, are not done, and hold one of these trials."""
    return [pack for pack in unfinished(workdir) if not set(pack.names).isdisjoint(names)]


def plan(workdir: str, due: Sequence[Due], *, at_once: str, workers: int) -> list[Pack]:
    """Packs of all that is due. With several workers a program's trials are dealt out, so that
    none idles.
    """
    together: dict[tuple[str, int], list[Trial]] = {}
    for d in due:
        together.setdefault((d.trial.program, d.until), []).append(d.trial)
    parts = -(-workers // max(1, len(together)))
    packs = []
    for (key, until), group in together.items():
        size = min(MOST, -(-len(group) // parts))
        for start in range(0, len(group), size):
            packs.append(_pack(workdir, key, group[start : start + size], at_once, until))
    return packs


def unfinished(workdir: str) -> list[Pack]:
    """Packs that were begun; those that are done are not even read."""
    folder = files.join_path(workdir, "packs")
    names = files.list_folder(folder) if files.is_dir(folder) else []
    paths = [files.join_path(folder, name) for name in names]
    begun = [p for p in paths if files.exists(files.join_path(p, "pack.json"))]
    return [read(p) for p in begun if not files.exists(files.join_path(p, "finished.json"))]


def trial_folder(workdir: str, name: str) -> str:
    return files.join_path(workdir, "trials", name)


def ended(trial: str, retry: bool = False) -> bool:
    """Whether the record in the folder is complete: finished, or failed and not to be retried."""
    if not Record.exists(trial):
        return False
    state = status(trial).get("state")
    return state == "finished" or (state == "failed" and not retry)


def status(trial: str) -> dict[str, Any]:
    """How the trial ended by itself; empty when it did not."""
    path = files.join_path(trial, "status.json")
    return files.read_json(path) if files.exists(path) else {}


def state_of(trial: str, running: bool) -> TrialState:
    """`running`: whether a process is at its pack."""
    if not Record.exists(trial):
        return "waiting"
    found: TrialState | None = status(trial).get("state")
    return found or ("running" if running else "lost")


def _pack(workdir: str, key: str, trials: Sequence[Trial], at_once: str, until: int) -> Pack:
    names = tuple(t.name for t in trials)
    digest = hashlib.sha256("\n".join((*names, str(until))).encode()).hexdigest()[:8]
    return Pack(
        files.join_path(workdir, "packs", f"{key}-{digest}"),
        names,
        tuple(trial_folder(workdir, name) for name in names),
        tuple(t.config for t in trials),
        at_once,
        until,
    )
