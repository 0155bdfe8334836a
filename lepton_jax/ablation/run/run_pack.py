"""Runs one pack to its end in this process: what `launch.py pack` does, and so every executor.

From here to a step: `TrialGroup.run` (trial_group.py) takes the trials that run at once, and hands
the training loop the compiled step of all their lanes (lanes.py).
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
from etils import epath

from lepton_jax.ablation.run.lane_count import choose_lanes, is_out_of_memory
from lepton_jax.ablation.run.lanes import Lanes, can_be_lanes
from lepton_jax.ablation.run.pack import Pack, read_pack
from lepton_jax.ablation.run.trial_group import TrialGroup
from lepton_jax.ablation.run.trial_queue import TrialQueue
from lepton_jax.ablation.workdir import has_ended
from lepton_jax.cluster.processes import Processes
from lepton_jax.config.config import Config
from lepton_jax.config.trialable import program_key
from lepton_jax.config.user_code import BrokenPart, users_line, write_traceback
from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError, describe_error
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.io import files
from lepton_jax.tracking import provenance
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.writers.views import open_views
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
        """Whether no error ended trials of it."""
        return not self.error

    def as_json(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {"folder": self.folder, "trials": self.trials, "stopped": self.stopped,
                "error": self.error}  # fmt: skip

    def __str__(self) -> str:
        if self.error:
            return f"{self.folder}: failed: {self.error}"
        how = "stopped, all saved" if self.stopped else "done"
        return f"{self.folder}: {self.trials} trials, {how}"


@dataclass
class CompiledLanes:
    """What was compiled for the last pack, so that the next one of its program begins at once."""

    key: tuple[Any, ...] = ()
    """The program and the devices."""
    built: BuiltRun | None = None
    by_width: dict[int, tuple[Lanes, Evaluations]] = field(default_factory=dict)
    """By lanes a device."""


def run_pack(
    folder: str, cache: CompiledLanes | None = None, queue: TrialQueue | None = None
) -> PackResult:
    """Runs the pack in a folder; goes on where it stopped.

    `queue`: the trials of all packs that this process runs.

    What became of each trial is written into its record. How many ran at once, and what was
    measured to decide that, is written into the pack's packing.json.

    A user's mistake or a full disk fails all trials of the pack. After any other error the trials
    run again one by one, so that only those fail whose error it is.
    """
    pack = read_pack(folder)
    with claim(pack.folder):
        queue = queue or TrialQueue(pack.names, pack.tunings)
        done, error = _run_and_blame(pack, cache or CompiledLanes(), queue)
        if done:
            _mark_finished(pack)
    return PackResult(folder, len(pack.names), stopped=not done, error=error)


def _run_and_blame(pack: Pack, cache: CompiledLanes, queue: TrialQueue) -> tuple[bool, str]:
    """Runs a pack. Returns whether it came to its end, and the error that failed trials of it."""
    try:
        return _run(pack, cache, queue), ""
    except Exception as e:  # noqa: BLE001  one pack's bug is not the end of the others
        # A part of the user's own may have broken by what one of the trials computed.
        if isinstance(e, BrokenPart) or not isinstance(e, UserError | WorkError):
            reason = _explain(e, pack.folder)
            say(f"{pack.folder}: {reason}")
            if len(pack.names) > 1:
                say("going on with one trial at a time")
                return _run_one_by_one(pack, cache, queue)
        else:
            reason = str(e)
    _fail_trials(pack, reason)
    return True, reason


def _explain(error: Exception, folder: str) -> str:
    """Returns what failed, with the user's line and the file that holds the traceback."""
    said = str(error)
    if not isinstance(error, BrokenPart):
        line = users_line(error)
        said = describe_error(error) + (f" at {line}" if line else "")
    path = write_traceback(error.__cause__ or error, folder)
    return f"{said}\nTraceback: {path}" if path else said


def _run_one_by_one(pack: Pack, cache: CompiledLanes, queue: TrialQueue) -> tuple[bool, str]:
    """Runs each trial as a pack of its own. Returns as `_run_and_blame`, the first error."""
    first_error = ""
    for i, name in enumerate(pack.names):
        one = dataclasses.replace(
            pack,
            folder=files.join_path(pack.folder, name),
            names=(name,),
            workdirs=pack.workdirs[i : i + 1],
            configs=pack.configs[i : i + 1],
        )
        one.write()
        done, error = _run_and_blame(one, cache, queue)
        first_error = first_error or error
        if not done:
            return False, first_error
    return True, first_error


def _run(pack: Pack, cache: CompiledLanes, queue: TrialQueue) -> bool:
    """Runs a pack's trials as lanes, or one after another. Returns whether it came to its end."""
    config = pack.configs[0]
    # One after another means on one device: several at once are another program.
    single = pack.at_once == "serial" or len(pack.names) == 1
    devices = jax.local_devices()[: 1 if single else len(pack.names)]
    with runtime(config.precision):
        key = (program_key(config), *devices)
        if cache.key != key or cache.built is None:
            cache.key, cache.built, cache.by_width = key, build_run(config), {}
        if can_be_lanes(cache.built):
            return _PackRunner(pack, cache.built, devices, cache.by_width, queue).run()
    return _train_one_by_one(pack, queue)


class _PackRunner:
    """A pack whose trials run as lanes on devices of this process."""

    def __init__(
        self,
        pack: Pack,
        built: BuiltRun,
        devices: Sequence[Any],
        by_width: dict[int, tuple[Lanes, Evaluations]],
        queue: TrialQueue,
    ):
        self._pack, self._built, self._devices = pack, built, devices
        self._by_width, self._queue = by_width, queue
        self._collected = provenance.collect_provenance(sys.argv)

    def run(self) -> bool:
        """Runs all trials, with fewer lanes where the memory is too small."""
        with listen_for_stop(Processes()) as stop:
            width = self._choose_width()
            while True:
                try:
                    return self._run_groups(width, stop)
                except jax.errors.JaxRuntimeError as e:
                    if not is_out_of_memory(e) or width == 1:
                        raise
                    width = max(1, width // 2)
                    say(f"the device's memory is too small: going on with {width} lanes at once")
                    self._write_width(width, {})

    def _run_groups(self, width: int, stop: Callable[[int], bool]) -> bool:
        """Runs as many trials at once as there are lanes, then the next."""
        lanes, evaluations = self._lanes(width)
        trials = list(zip(self._pack.configs, self._pack.workdirs, strict=True))
        tokenizer = self._built.data.tokenizer
        unshown: list[tuple[Config, str]] = []
        for start in range(0, len(trials), lanes.count):
            together = trials[start : start + lanes.count]
            group = TrialGroup(
                lanes,
                evaluations,
                together,
                files.join_path(self._pack.folder, f"{width}-{start}"),
                partial(self._describe_origin, lanes),
                self._pack.until or lanes.program.durations.total_steps,
                stop,
                tokenizer.text if tokenizer else "",
            )
            with self._queue.running(self._pack.names[start : start + lanes.count]) as among:
                if not group.run(among):
                    return False
            unshown = _show_trials([*unshown, *together])
        return True

    def _lanes(self, width: int) -> tuple[Lanes, Evaluations]:
        if width not in self._by_width:
            built = self._built
            train = built.data.splits["train"]
            lanes = Lanes(built.program, train, self._devices, width)
            self._by_width[width] = (lanes, built.evaluations.placed_on(lanes.placement))
        return self._by_width[width]

    def _choose_width(self) -> int:
        """Returns the lanes a device: those with which the pack began, else as measured now."""
        path = files.join_path(self._pack.folder, "packing.json")
        if files.exists(path):
            cure = "Remove it: the lanes are measured again"
            return files.read_object(path, cure=cure, lanes_a_device=int)["lanes_a_device"]
        width = 1
        measured: dict[int, float] = {}
        if self._pack.at_once.isdigit():
            most = -(-len(self._pack.names) // len(self._devices))
            width = max(1, min(most, int(self._pack.at_once) // len(self._devices)))
        elif self._pack.at_once == "auto":
            lanes, measured = choose_lanes(lambda width: self._lanes(width)[0], self._pack.configs)
            width = lanes.placement.width
        self._write_width(width, measured)
        return width

    def _write_width(self, width: int, measured: dict[int, float]) -> None:
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

    def _describe_origin(self, lanes: Lanes, config: Config) -> dict[str, Any]:
        data = self._built.data
        origin = provenance.describe_origin(self._collected, config, data, lanes.placement)
        return origin | {"pack": self._pack.folder}


def _train_one_by_one(pack: Pack, queue: TrialQueue) -> bool:
    """Trains one trial after another as `train` does, where trials cannot be lanes."""
    for name, config, workdir in zip(pack.names, pack.configs, pack.workdirs, strict=True):
        if has_ended(workdir):
            queue.note_ended([name])
            continue
        try:
            with queue.running([name]) as among:
                run = train(
                    config, workdir, longer=False, until=pack.until, command=sys.argv, among=among
                )
        except WorkError as e:
            say(f"{workdir}: {e}")
            continue
        if run.stopped and run.step < (pack.until or run.total_steps):
            return False
    return True


def _show_trials(trials: Sequence[tuple[Config, str]]) -> list[tuple[Config, str]]:
    """Shows the trials (config, workdir) of groups that have ended by the writers of their configs.

    Returns those that are not shown, from the first one that failed: a tool that cannot be reached
    is not waited for once a trial. A pack that is killed meanwhile comes here again when it goes
    on; a writer skips what it has shown.
    """
    for i, (config, workdir) in enumerate(trials):
        if config.writers and Record.exists(workdir):
            try:
                shown = open_views(config, Record.open(workdir, writes=False)).close()
            except UserError as e:
                say(f"warning: {workdir} is not shown by all writers: {e}")
                shown = False
            if not shown:
                return list(trials[i:])
    return []


def _fail_trials(pack: Pack, reason: str) -> None:
    """Notes in the record of every trial that has not ended that it failed, and why."""
    for config, workdir in zip(pack.configs, pack.workdirs, strict=True):
        if has_ended(workdir):
            continue
        if not Record.exists(workdir):
            Record.create(workdir, config.to_json(), {"fingerprint": config.fingerprint()})
        record = Record.open(workdir)
        record.end("failed", 0, reason)
        record.close()


def _mark_finished(pack: Pack) -> None:
    """Notes that the pack is finished, and removes the checkpoints of its groups."""
    files.write_json(files.join_path(pack.folder, "finished.json"), {"trials": len(pack.names)})
    for name in files.list_folder(pack.folder):
        path = files.join_path(pack.folder, name)
        if files.is_dir(path):
            epath.Path(path).rmtree()
