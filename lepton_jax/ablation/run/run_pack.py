"""Runs one pack to its end, in this process: what `launch.py pack` does, and every executor."""

import dataclasses
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from etils import epath

from lepton_jax.ablation.run import pack as packs
from lepton_jax.ablation.run.lane_count import choose_lanes, is_out_of_memory
from lepton_jax.ablation.run.lanes import Lanes, can_be_lanes
from lepton_jax.ablation.run.pack import Pack
from lepton_jax.ablation.run.trial_group import TrialGroup
from lepton_jax.ablation.workdir import has_ended
from lepton_jax.cluster.processes import Processes
from lepton_jax.config.config import Config, program_key
from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.tracking import files, provenance
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.runtime import runtime
from lepton_jax.training.stopping import listen_for_stop
from lepton_jax.training.train import train


@dataclass(frozen=True)
class PackResult:
    """A pack that came to its end, or was stopped before it."""

    folder: str
    trials: int
    stopped: bool
    error: str = ""

    @property
    def ok(self) -> bool:
        return not self.error

    def as_json(self) -> dict[str, Any]:
        return {"folder": self.folder, "trials": self.trials, "stopped": self.stopped,
                "error": self.error}  # fmt: skip

    def __str__(self) -> str:
        if self.error:
            return f"{self.folder}: failed: {self.error}"
        how = "stopped, all saved" if self.stopped else "done"
        return f"{self.folder}: {self.trials} trials, {how}"


@dataclass
class CompiledLanes:
    """What was compiled for the last pack: the next one of the same program begins at once."""

    key: tuple[Any, ...] = ()
    prepared: BuiltRun | None = None
    made: dict[int, tuple[Lanes, Evaluations]] = field(default_factory=dict)


def run_pack(folder: str, warm: CompiledLanes) -> PackResult:
    """Runs the pack in a folder. What came of each trial is said in its record; how many ran at
    once and what was measured, in the pack's packing.json.

    A mistake or a full disk is that of all trials of the pack. After any other error they are run
    again one by one, so that only those fail whose error it is.
    """
    pack = packs.read_pack(folder)
    with claim(pack.folder):
        done, error = _tried(pack, warm)
        if done:
            _tidy(pack)
    return PackResult(folder, len(pack.names), stopped=not done, error=error)


def _tried(pack: Pack, warm: CompiledLanes) -> tuple[bool, str]:
    """Whether the pack came to its end, and the error with which trials of it failed."""
    try:
        return _run(pack, warm), ""
    except (UserError, WorkError) as e:
        reason = str(e)
    except Exception as e:  # noqa: BLE001  one pack's bug is not the end of the others
        traceback.print_exc()
        reason = f"{type(e).__name__}: {e}".partition("\n")[0]
        if len(pack.names) > 1:
            say(f"{pack.folder}: {reason}; going on with one trial at a time")
            return _one_by_one(pack, warm)
    _fail(pack, reason)
    return True, reason


def _one_by_one(pack: Pack, warm: CompiledLanes) -> tuple[bool, str]:
    error = ""
    for i, name in enumerate(pack.names):
        one = dataclasses.replace(
            pack,
            folder=files.join_path(pack.folder, name),
            names=(name,),
            workdirs=pack.workdirs[i : i + 1],
            configs=pack.configs[i : i + 1],
        )
        one.write()
        done, reason = _tried(one, warm)
        error = error or reason
        if not done:
            return False, error
    return True, error


def _run(pack: Pack, warm: CompiledLanes) -> bool:
    config = pack.configs[0]
    # One after another means on one device: several at once are another program.
    few = pack.at_once == "serial" or len(pack.names) == 1
    devices = jax.local_devices()[: 1 if few else len(pack.names)]
    with runtime(config.precision):
        key = (program_key(config), *devices)
        if warm.key != key or warm.prepared is None:
            warm.key, warm.prepared, warm.made = key, build_run(config), {}
        if can_be_lanes(warm.prepared):
            return _Runner(pack, warm.prepared, devices, warm.made).run()
    return _alone(pack)


class _Runner:
    """A pack on devices of this process."""

    def __init__(
        self,
        pack: Pack,
        prepared: BuiltRun,
        devices: Sequence[Any],
        made: dict[int, tuple[Lanes, Evaluations]],
    ):
        self._pack, self._prepared, self._devices, self._made = pack, prepared, devices, made
        self._collected = provenance.collect_provenance(sys.argv)

    def run(self) -> bool:
        with listen_for_stop(Processes()) as stop:
            width = self._width()
            while True:
                try:
                    return self._groups(width, stop)
                except jax.errors.JaxRuntimeError as e:
                    if not is_out_of_memory(e) or width == 1:
                        raise
                    width = max(1, width // 2)
                    say(f"the device's memory is too small: going on with {width} at once")
                    self._note(width, {})

    def _groups(self, width: int, stop: Any) -> bool:
        lanes, evaluations = self._lanes(width)
        trials = list(zip(self._pack.configs, self._pack.workdirs, strict=True))
        tokenizer = self._prepared.data.tokenizer
        for start in range(0, len(trials), lanes.count):
            group = TrialGroup(
                lanes,
                evaluations,
                trials[start : start + lanes.count],
                files.join_path(self._pack.folder, f"{width}-{start}"),
                self._facts,
                self._pack.until or lanes.program.durations.total_steps,
                stop,
                tokenizer.text if tokenizer else "",
            )
            if not group.run():
                return False
        return True

    def _lanes(self, width: int) -> tuple[Lanes, Evaluations]:
        if width not in self._made:
            prepared = self._prepared
            train = prepared.data.splits["train"]
            lanes = Lanes(prepared.program, train, self._devices, width)
            self._made[width] = (lanes, prepared.evaluations.placed_on(lanes.placement))
        return self._made[width]

    def _width(self) -> int:
        """As noted when the pack began, else as measured now."""
        path = files.join_path(self._pack.folder, "packing.json")
        if files.exists(path):
            return files.read_json(path)["lanes_a_device"]
        width = 1
        measured: dict[int, float] = {}
        if self._pack.at_once.isdigit():
            most = -(-len(self._pack.names) // len(self._devices))
            width = max(1, min(most, int(self._pack.at_once) // len(self._devices)))
        elif self._pack.at_once == "auto":
            lanes, measured = choose_lanes(lambda width: self._lanes(width)[0], self._pack.configs)
            width = lanes.placement.width
        self._note(width, measured)
        return width

    def _note(self, width: int, measured: dict[int, float]) -> None:
        files.write_json(
            files.join_path(self._pack.folder, "packing.json"),
            {
                "trials": len(self._pack.names),
                "first": self._pack.names[0],
                "devices": len(self._devices),
                "lanes_a_device": width,
                "seconds_a_step_and_trial": {str(k): v for k, v in measured.items()},
            },
        )

    def _facts(self, config: Config) -> dict[str, Any]:
        data = self._prepared.data.fingerprint
        return provenance.describe_origin(self._collected, config, data) | {
            "pack": self._pack.folder
        }


def _alone(pack: Pack) -> bool:
    """One `train` after another: for streamed data, and for strategies of several devices."""
    for config, workdir in zip(pack.configs, pack.workdirs, strict=True):
        if has_ended(workdir):
            continue
        try:
            found = train(config, workdir, longer=False, until=pack.until, command=sys.argv)
        except WorkError as e:
            say(f"{workdir}: {e}")
            continue
        if found.step < (pack.until or found.total_steps):
            return False
    return True


def _fail(pack: Pack, reason: str) -> None:
    """Says in the record of every trial that has not ended that it failed, and why."""
    for config, workdir in zip(pack.configs, pack.workdirs, strict=True):
        if has_ended(workdir):
            continue
        if not Record.exists(workdir):
            Record.create(workdir, config.to_json(), {"fingerprint": config.fingerprint()})
        record = Record.open(workdir)
        record.end("failed", 0, reason)
        record.close()


def _tidy(pack: Pack) -> None:
    """Marks the pack as done; the checkpoints of its groups have served."""
    files.write_json(files.join_path(pack.folder, "finished.json"), {"trials": len(pack.names)})
    for name in files.list_folder(pack.folder):
        path = files.join_path(pack.folder, name)
        if files.is_dir(path):
            epath.Path(path).rmtree()
