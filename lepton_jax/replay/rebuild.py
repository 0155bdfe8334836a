"""Runs the command again that made a bundle, with the code of its run, and compares the weights."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.config.config import find_user_modules
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.replay.arrays import measure_arrays
from lepton_jax.replay.other_code import checked_out, find_commit, run_code
from lepton_jax.replay.parting import DifferentArray
from lepton_jax.replay.trace import Trace
from lepton_jax.serving import loader
from lepton_jax.serving.programs import read_arrays
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.state_chain import StateFile

LEFT_OUT = ("<path>", "<url>", "<secret>", "<user>")
"""What stands in a bundle's config for what no bundle carries."""


@dataclass(frozen=True)
class Rebuilt:
    """A bundle that was made again, and how its weights compare."""

    what: str
    workdir: str
    bundle: str
    id: str
    bytes: int
    same: bool
    """Whether the files of the weights are the same, byte for byte."""
    same_chain: bool | None
    """Whether all rows and states up to the step have the digests that the bundle states; None
    where it states none."""
    arrays: tuple[DifferentArray, ...]
    """The arrays that differ."""
    changes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.same

    def as_json(self) -> dict[str, Any]:
        arrays = [vars(a) for a in self.arrays]
        return {**vars(self), "arrays": arrays, "ok": self.ok, "changes": list(self.changes)}

    def __str__(self) -> str:
        lines = [f"Rebuilt {self.what}: the run is {self.workdir}, the bundle {self.bundle}"]
        if self.same:
            lines.append(f"The weights are the same, byte for byte ({self.bytes:,} bytes)")
        else:
            lines.append(f"The weights DIFFER in {len(self.arrays)} arrays:")
            lines += [f"  {array}" for array in self.arrays[:8]]
            lines += [f"  here: {change}" for change in self.changes]
        if self.same_chain is not None:
            said = "the same" if self.same_chain else "others"
            lines.append(f"The rows and states up to its step have {said} digests")
        following = format_command("verify", bundle=self.bundle)
        return "\n".join([*lines, f"next: {following}"])

    __repr__ = __str__


def rebuild_model(found: Trace, out: str) -> Rebuilt:
    """Trains what a bundle is of again, exports its step, and compares the weights.

    Args:
      out: a new folder, which gets `config.json`, the record `run` and the bundle `bundle`.

    Raises:
      UserError: when `out` is there, or something is missing that the bundle does not carry.
      WorkError: when the training or the export fails.
    """
    if os.path.lexists(out):
        raise UserError(f"--out={out} is there already; give a new folder")
    config = _find_config(found)
    with _code(found) as folder:
        files.make_dir(out)
        file = os.path.join(out, "config.json")
        Path(file).write_text(json.dumps(config, indent=1))
        run, bundle = os.path.join(out, "run"), os.path.join(out, "bundle")
        say(f"training step 0 to {found.step:,} again in {run}")
        words = [f"--config={os.path.abspath(file)}", f"--workdir={run}"]
        run_code(folder, ["train", *words])
        run_code(
            folder, ["export", f"--workdir={run}", f"--checkpoint={found.step}", f"--out={bundle}"]
        )
    own = loader.read_file(found.folder, loader.WEIGHTS)
    new = loader.read_file(bundle, loader.WEIGHTS)
    arrays: tuple[DifferentArray, ...] = ()
    if own != new:
        arrays = measure_arrays(*(_arrays(f) for f in (found.folder, Path(bundle))))
    return Rebuilt(
        found.what, run, bundle, loader.bundle_id(bundle), len(new), own == new,
        _compare_chains(found.lineage, run), arrays, found.changes,
    )  # fmt: skip


def _find_config(found: Trace) -> dict[str, Any]:
    """Returns the config to train: that of the record, or else that of the bundle.

    A bundle is data: what it names of the user's own is not imported, unless the record is here.
    """
    if found.workdir:
        return Record.open(found.workdir, writes=False).config()
    config = dict(found.lineage["config"])
    text = json.dumps(config)
    gone = next((word for word in LEFT_OUT if word in text), None)
    if gone:
        raise UserError(
            f"{found.what} cannot be rebuilt from its bundle alone: a value of its config is left "
            f"out there ({gone}). --runs=DIR names the folder in which the record of its run lies"
        )
    if modules := find_user_modules(config):  # before anything validates it, which imports them
        raise UserError(
            f"{found.what} names code of a user's own ({modules[0]}), which is run only where the "
            "record of the run is here: --runs=DIR names the folder in which it lies"
        )
    return config


def _code(found: Trace) -> AbstractContextManager[str]:
    """Returns a folder with the code of lepton_jax that the run had."""
    if found.same_code:
        return nullcontext(str(Path(__file__).parents[2]))
    commit, digest = found.code.get("commit"), found.code.get("diff_sha256")
    diff = str(found.code.get("diff") or "")
    if digest and not diff:
        raise UserError(
            f"{found.what} was made with uncommitted changes of commit {commit!r:.12}, which the "
            "record of its run holds, if it is below --runs=DIR"
        )
    known = re.fullmatch("[0-9a-f]{7,64}", str(commit)) and find_commit(str(commit))
    if not known:
        raise UserError(
            f"{found.what} was made with lepton_jax of commit {commit!r:.42}, which is not in the "
            "git repository of the lepton_jax here: fetch it there"
        )
    return checked_out(known, diff)


def _compare_chains(lineage: Mapping[str, Any], run: str) -> bool | None:
    chain = lineage.get("chain")
    if not chain:
        return None
    links = [{"step": x.step, "link": x.link} for x in StateFile(run).links()]
    return {"step": chain.get("step"), "link": chain.get("link")} in links


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(folder, loader.WEIGHTS)
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
