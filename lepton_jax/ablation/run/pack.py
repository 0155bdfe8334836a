"""Packs: trials that share a compiled program and are handed to one process together.

A pack is a folder, `W/packs/ID`: pack.json says which trials, and an executor needs nothing else.
While the pack runs, the folder holds its checkpoints.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lepton_jax.ablation.question.experiment import describe_changes
from lepton_jax.ablation.question.trials import Trial
from lepton_jax.ablation.workdir import read_lanes, trial_folder, unfinished_packs
from lepton_jax.config.config import Config
from lepton_jax.config.validation import validate_config
from lepton_jax.io import files

MOST_TRIALS = 256
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
    """The step at which the trials stop, for their search to compare them; 0: their last."""
    tunings: tuple[str, ...] = ()
    """What each trial has of the values that are tuned: `learning_rate=0.01`, or ''."""

    @property
    def finished(self) -> bool:
        """Whether every trial of it has come to its end, or to `until`."""
        return files.exists(files.join_path(self.folder, "finished.json"))

    def write(self) -> None:
        """Writes the pack's folder."""
        files.make_dir(self.folder)
        trials = zip(self.names, self.workdirs, self.configs, self.tunings, strict=True)
        lanes = [
            {"name": name, "workdir": workdir, "config": config.to_dict(), "tuning": tuning}
            for name, workdir, config, tuning in trials
        ]
        value = {"at_once": self.at_once, "until": self.until, "lanes": lanes}
        files.write_json(files.join_path(self.folder, "pack.json"), value)


def read_pack(folder: str) -> Pack:
    """Reads the pack in a folder.

    Raises:
      WorkError: when pack.json is damaged.
    """
    value = read_lanes(folder)
    lanes = value["lanes"]
    return Pack(
        folder,
        tuple(lane["name"] for lane in lanes),
        tuple(lane["workdir"] for lane in lanes),
        tuple(validate_config(lane["config"], lane["name"]) for lane in lanes),
        value["at_once"],
        value["until"],
        tuple(lane.get("tuning", "") for lane in lanes),
    )


@dataclass(frozen=True)
class DueTrial:
    """A trial that is to run now."""

    trial: Trial
    until: int = 0
    """As in `Pack`."""


def begun_packs(workdir: str, names: Collection[str]) -> list[Pack]:
    """Reads the packs that were begun, are not finished, and hold a trial of these names."""
    packs = [read_pack(folder) for folder in unfinished_packs(workdir)]
    return [pack for pack in packs if not set(pack.names).isdisjoint(names)]


def plan_packs(workdir: str, due: Sequence[DueTrial], *, at_once: str, workers: int) -> list[Pack]:
    """Divides the trials that are due into packs, and writes nothing.

    With several workers the trials of a program are dealt out to as many packs, so that no worker
    idles.
    """
    together: dict[tuple[str, int], list[Trial]] = {}
    for one in due:
        together.setdefault((one.trial.program, one.until), []).append(one.trial)
    parts = -(-workers // max(1, len(together)))
    packs = []
    for (key, until), trials in together.items():
        size = min(MOST_TRIALS, -(-len(trials) // parts))
        for start in range(0, len(trials), size):
            packs.append(_pack(workdir, key, trials[start : start + size], at_once, until))
    return packs


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
        tuple(describe_changes(t.tuning) for t in trials),
    )
