"""Looks at the paths that a command is given, before anything heavy is imported.

A command calls these first, so that a slip of the pen costs no import of JAX.
"""

import os

from lepton_jax.errors import UserError
from lepton_jax.io import files
from lepton_jax.serving.loader import MANIFEST
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoint_files import list_steps


def look_for_run(workdir: str, checkpoint: str = "best") -> None:
    """Looks whether there is a record, and the checkpoint that is asked for.

    Raises:
      UserError: naming the nearest folder that holds a run, or the checkpoints that there are.
    """
    Record.open(workdir)
    if checkpoint in ("best", "last"):
        return
    steps = list_steps(workdir)
    if not checkpoint.isdecimal() or int(checkpoint) not in steps:
        there = ", ".join(map(str, steps)) or "none yet"
        raise UserError(
            f"--checkpoint={checkpoint}: expected 'best', 'last' or a step of {workdir}, which "
            f"has {there}"
        )


def look_for_bundle(bundle: str) -> None:
    """Looks whether there is the folder of a bundle.

    Raises:
      UserError: naming the nearest folder that holds one.
    """
    nearest = files.find_nearest_path(bundle, holding=MANIFEST)
    inside = os.path.join(bundle, "bundle")
    if os.path.isdir(bundle):
        if os.path.exists(os.path.join(bundle, MANIFEST)) or not os.path.isdir(inside):
            return
        raise UserError(
            f"--bundle={bundle} is no bundle (did you mean {inside!r}?)", instead=(bundle, inside)
        )
    raise UserError(
        f"--bundle={bundle}: there is no such folder{files.name_nearest(bundle, holding=MANIFEST)}",
        instead=(bundle, nearest) if nearest else None,
    )
