"""Checkpoints: Orbax writes them, digests of ours say whether they are intact
(`checkpoint_files.py`).
"""

import errno
import logging as standard
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from lepton_jax.cluster.processes import Processes
from lepton_jax.errors import UserError, WorkError, did_you_mean
from lepton_jax.io import files
from lepton_jax.tracking.chain import Basis
from lepton_jax.tracking.state_chain import StateFile
from lepton_jax.training.checkpoint_files import (
    DIGESTS,
    RECORD,
    digest_files,
    find_damage,
    list_files,
    read_basis,
)
from lepton_jax.training.state_digests import StateDigests
from lepton_jax.trees import flatten_tree, unflatten_tree

FORMAT = 1


class Checkpoints:
    """The checkpoints of one workdir.

    `keep` selects, of all steps, those to keep; without it, nothing is written. With several
    processes every one of them makes each call, and writes, reads and checks its share.

    `digests_states`: the digest of each state that is saved or restored goes to states.jsonl, at
    the next call of `save`, `restore` or `close` (`tracking/state_chain.py`).
    """

    def __init__(
        self,
        workdir: str,
        keep: Callable[[list[int]], set[int]] | None = None,
        processes: Processes | None = None,
        digests_states: bool = True,
    ):
        self._processes = processes or Processes()
        self._states = StateFile(workdir) if keep and digests_states else None
        self._digests = StateDigests(self._processes)
        self._noted: Callable[[], None] | None = None
        """Waits for the digests of the last state, and writes them."""
        self._intact: set[int] = set()
        self._bases: dict[int, list[dict[str, Any] | None]] = {}
        """By step, what is written beside a checkpoint when it is committed."""
        logging.set_verbosity(logging.FATAL)  # what Orbax's threads log is raised here as well
        standard.getLogger("asyncio").setLevel(standard.CRITICAL)  # the same, of its futures
        _ignore_closed_loops()
        self._folder = epath.Path(workdir).resolve() / "checkpoints"
        if os.path.lexists(self._folder) and not self._folder.is_dir():
            raise UserError(f"{self._folder} is no folder, and is in the way of the checkpoints")
        options = ocp.CheckpointManagerOptions(
            create=keep is not None,
            read_only=keep is None,
            cleanup_tmp_directories=keep is not None,
            preservation_policy=_Keep(keep) if keep else None,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_digests),
        )
        try:
            self._manager = ocp.CheckpointManager(
                self._folder, options=options, item_handlers=ocp.StandardCheckpointHandler()
            )
        except (ValueError, TypeError) as e:  # of a file of the form that Orbax does not expect
            raise WorkError(
                f"{self._folder}/*/_CHECKPOINT_METADATA: one of these is damaged ({e}); they tell "
                "when a checkpoint was written and nothing else: remove it and give the command "
                "again"
            ) from None

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, in order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, tree: Any, bases: Sequence[Basis | None]) -> None:
        """Starts to write `tree`; returns when its buffers may be donated.

        `bases`: what it stands on, for each run whose state is in `tree`; None for one that has
        ended. The rows are on disk already.

        Raises:
          WorkError: when this or the previous save failed, naming the last good checkpoint.
        """
        if step in self._manager.all_steps():
            return
        self._start_noting(bases[0], tree)
        self._bases[step] = [basis.as_json() if basis else None for basis in bases]
        leaves = {"format": FORMAT, **flatten_tree(tree)}
        with self._failing():
            self._manager.save(step, args=ocp.args.StandardSave(leaves))

    def wait(self) -> None:
        """Waits until every save is on disk. Raises `WorkError` as `save` does."""
        with self._failing():
            self._manager.wait_until_finished()
        if self._processes.count == 1:  # one of several may be failing, and no longer meet the rest
            self._finish_noting()

    def close(self) -> None:
        """Writes the digests of the last state, and ends the threads."""
        self._finish_noting()
        self._digests.close()
        self._manager.close()

    def restore(self, step: int, like: Any) -> Any:
        """Restores the checkpoint of `step` in the form, and on the devices, of `like`.

        Raises:
          UserError: when it holds other parameters than `like`, naming them.
          WorkError: when it is damaged.
        """
        self._refuse_damaged(step)
        wanted = flatten_tree(like)
        self._compare(step, wanted)
        target = {"format": 0} | {
            k: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=v.sharding)
            for k, v in wanted.items()
        }
        leaves = self._manager.restore(step, args=ocp.args.StandardRestore(target))
        if int(leaves["format"]) > FORMAT:
            raise UserError(
                f"checkpoint {self._folder / str(step)} has format {leaves['format']}, of a "
                f"newer lepton_jax; this one reads formats up to {FORMAT}"
            )
        tree = unflatten_tree(leaves, like)
        self._start_noting(self.basis(step), tree)  # a kill after the save may have lost its line
        return tree

    def basis(self, step: int, run: int = 0) -> Basis | None:
        """Reads what a checkpoint stands on, for the run of that index; see `read_basis`."""
        return read_basis(self._folder, step, run)

    def forget_after(self, step: int) -> None:
        """Removes the (damaged) checkpoints of later steps, so that they can be written anew, and
        their digests.
        """
        if self._states and self._processes.first:
            self._states.rewind(step)
        for later in self.steps():
            if later > step:
                self._manager.delete(later)

    def newest_intact(self, say: Callable[[str], None]) -> int | None:
        """Finds the latest step whose files are intact; `say` is told of each damaged one.

        Raises:
          WorkError: when there are checkpoints and none is intact.
        """
        step = self.search_intact(say)
        if step is None and self.steps():
            raise WorkError(
                f"none of the checkpoints in {self._folder} is intact; "
                "to start over, remove that folder or choose another --workdir"
            )
        return step

    def search_intact(self, say: Callable[[str], None]) -> int | None:
        """Finds the same step; None where none is intact."""
        for step in reversed(self.steps()):
            problem = self.damage(step)
            if not problem:
                return step
            say(f"checkpoint {self._folder / str(step)} is damaged ({problem}): going back one")
        return None

    def damage(self, step: int) -> str:
        """Says what is wrong with the files of a checkpoint; '' when nothing is."""
        if step in self._intact:
            return ""
        problems = self._processes.gather(f"damage of {step}", self._damage(step))
        problem = next(filter(None, problems), "")
        if not problem:
            self._intact.add(step)
        return problem

    def _start_noting(self, basis: Basis | None, tree: Any) -> None:
        """Starts on the digests of a state, which may be donated when this returns."""
        self._finish_noting()
        states, first = self._states, self._processes.first
        if states is None or basis is None:
            return
        finish = self._digests.start(tree["state"])

        def note() -> None:
            leaves = finish()
            if first:
                states.add(basis, leaves)

        self._noted = note

    def _finish_noting(self) -> None:
        noted, self._noted = self._noted, None
        if noted:
            noted()

    def _refuse_damaged(self, step: int) -> None:
        problem = self.damage(step)
        if problem:
            raise WorkError(f"checkpoint {self._folder / str(step)} is damaged: {problem}")

    def _damage(self, step: int) -> str:
        """Says what is wrong with this process's share of the files."""
        share = slice(self._processes.index, None, self._processes.count)
        return find_damage(self._folder / str(step), share)

    def shapes(self, step: int) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each leaf of a checkpoint, by name."""
        metadata = self._manager.item_metadata(step)
        tree = getattr(metadata, "tree", metadata)
        return {k: tuple(v.shape) for k, v in tree.items() if k != "format"}

    def arrays(self, step: int, prefix: str) -> dict[str, Any]:
        """Returns the leaves under `prefix` as numpy arrays, by their names without it."""
        import numpy as np

        self._refuse_damaged(step)
        leaves: Mapping[str, Any] = self._manager.restore(
            step, args=ocp.args.StandardRestore(fallback_sharding=_one_device())
        )
        return {
            k.removeprefix(prefix): np.asarray(v) for k, v in leaves.items() if k.startswith(prefix)
        }

    def _compare(self, step: int, wanted: Mapping[str, Any]) -> None:
        stored = self.shapes(step)
        where = f"checkpoint {self._folder / str(step)}"
        for name, leaf in wanted.items():
            if name not in stored:
                near = did_you_mean(name, stored)
                raise UserError(f"{where} does not hold {name}, which this config has{near}")
            if stored[name] != leaf.shape:
                raise UserError(f"{where}: {name} has shape {stored[name]}, expected {leaf.shape}")
        for name in stored:
            if name not in wanted:
                raise UserError(f"{where} holds {name}, which this config does not have")

    def _write_digests(self) -> None:
        """Writes the digests; Orbax calls it in its own thread, just before the commit."""
        for folder in self._folder.iterdir():
            if folder.is_dir() and not (folder / DIGESTS).exists():
                step = folder.name.split(".")[0]  # what follows is of Orbax, until the commit
                if step.isdigit() and (bases := self._bases.pop(int(step), None)):
                    files.write_json(folder / RECORD, bases)
                files.write_json(folder / DIGESTS, digest_files(folder, list_files(folder)))

    def _failing(self) -> "_Failing":
        return _Failing(self)


class _Failing:
    """Turns the error of a failed save into one sentence."""

    def __init__(self, checkpoints: Checkpoints):
        self._checkpoints = checkpoints

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, WorkError):
            return
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else f"{type(error).__name__}: {error}"
        steps = self._checkpoints.steps()
        last = f"the last good one is step {steps[-1]}" if steps else "there is none yet"
        raise WorkError(
            f"could not write a checkpoint to {self._checkpoints._folder}: {reason}; {last}. "
            "Make room, then run the same command again: it goes on from there"
        ) from None


def _ignore_closed_loops() -> None:
    """Ignores a report of tensorstore after a failed save, to a loop that Orbax has closed."""
    before = sys.unraisablehook
    if getattr(before, "__name__", "") == "but_closed_loops":
        return

    def but_closed_loops(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = but_closed_loops


class _Keep(policies.PreservationPolicy):
    def __init__(self, keep: Callable[[list[int]], set[int]]):
        self._keep = keep

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        kept = self._keep([c.step for c in checkpoints])
        return [c.step in kept for c in checkpoints]


def _one_device() -> Any:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
