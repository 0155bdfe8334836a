"""Looks at the paths that a command is given, before anything heavy is imported.

A command calls these first, so that a slip of the pen costs no import of JAX.
"""

import os
from collections.abc import Sequence
from typing import Any

from lepton_jax.archive import is_tar
from lepton_jax.config.config import Config
from lepton_jax.config.schema import PATH
from lepton_jax.config.walk import walk
from lepton_jax.data.naming import SPLITS
from lepton_jax.errors import UserError, WorkError, choice_error
from lepton_jax.io import files
from lepton_jax.nearest import find_nearest
from lepton_jax.serving import loader
from lepton_jax.serving.loader import MANIFEST
from lepton_jax.tracking.experiment_folder import describe_experiment, is_experiment
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoint_files import list_steps
from lepton_jax.training.recorded_config import read_config


def look_for_run(workdir: str, checkpoint: str = "best") -> None:
    """Looks whether there is a record, and the checkpoint that is asked for.

    Raises:
      UserError: naming the nearest folder that holds a run, or the checkpoints that there are.
    """
    _look_for_trial(workdir)
    Record.open(workdir)
    if checkpoint in ("best", "last"):
        return
    steps = list_steps(workdir)
    if not checkpoint.isdecimal() or int(checkpoint) not in steps:
        there = ", ".join(map(str, steps)) or "none yet"
        step = os.path.basename(checkpoint)  # of a path to it
        near = step if step in map(str, steps) else find_nearest(checkpoint, ("best", "last"))
        if checkpoint.isdecimal() and steps:
            near = str(min(steps, key=lambda s: abs(s - int(checkpoint))))
        raise UserError(
            f"--checkpoint={checkpoint}: expected 'best', 'last' or a step of {workdir}, which "
            f"has {there}",
            instead=("--checkpoint", f"--checkpoint={near}") if near else None,
        )


def _look_for_trial(workdir: str) -> None:
    """Looks whether a folder is an experiment's, of which one trial is to be named.

    Raises:
      UserError: naming the trial that is best on `valid`.
    """
    if not is_experiment(workdir) or Record.exists(workdir):
        return
    from lepton_jax.ablation.analysis.outcomes import find_best_trial, read_results

    try:
        best = find_best_trial(read_results(workdir))
    except WorkError:
        return  # a damaged one
    if best is not None:
        raise UserError(
            f"{workdir} holds {describe_experiment(workdir)}, and no record of a run; the best on "
            f"valid is {best.workdir}",
            instead=(workdir, best.workdir),
        )


def look_for_split(workdir: str, split: str) -> None:
    """Looks whether a run's data has a split, or its config an evaluation, of that name.

    The data are read only for a name that is not a usual one.

    Raises:
      UserError: naming those that there are.
    """
    if split in SPLITS:
        return
    config = read_config(workdir)
    names = list(dict.fromkeys([*SPLITS, *config.evals]))
    if split not in names:
        names = list(dict.fromkeys([*config.data.source.build().splits, *names]))
    if split not in names:
        raise choice_error("there is no split", split, names, "--split")


def look_for_inputs(config: Config, *, begins: bool) -> None:
    """Looks whether the files and folders are there that a run reads.

    `begins`: whether it is a new run, which also reads the weights that it starts from.

    Raises:
      UserError: naming the key, and the nearest path that is there.
    """
    leaves = walk(config.data, path=("data",))
    keys = {leaf.name: leaf.value for leaf in leaves if PATH in leaf.marks}
    if begins:
        keys["init_from"] = config.init_from
        keys["lora.init_from"] = config.lora.init_from if config.lora else ""
    for key, value in keys.items():
        path = os.path.expanduser(value or "")
        if path and files.is_local(path) and not os.path.exists(path):
            nearest = files.find_nearest_path(path)
            raise UserError(
                f"{key} = {value!r}: there is no such file or folder"
                f"{files.name_nearest(path) if nearest else files.list_beside(path)}",
                instead=(f"--config.{key}", f"--config.{key}={nearest}") if nearest else None,
            )


def look_for_picture(command: str, out: str) -> None:
    """Looks whether a picture can be written where a command is told to.

    Raises:
      UserError: for a name that is no picture's, or a folder that is not there.
    """
    stem, suffix = os.path.splitext(out)
    if suffix != ".png":
        raise UserError(
            f"{command}: --out={out}: expected a name that ends in .png",
            instead=("--out", f"--out={stem}.png"),
        )
    folder = os.path.dirname(out) or "."
    if files.is_local(out) and not os.path.isdir(folder):
        raise UserError(
            f"{command}: --out={out}: there is no folder {folder}; make it first, mkdir -p {folder}"
        )


def look_for_images(bundle: str, inputs: Sequence[Any]) -> None:
    """Looks whether the files are there that a bundle of images or arrays is to answer.

    A bundle with a signature is left to the loader: nothing of it is parsed before that is checked.

    Raises:
      UserError: naming the nearest file, or what is no file.
    """
    if os.path.lexists(os.path.join(bundle, loader.SIGNED)):
        return
    try:
        signature = loader.read_object(bundle, "signature.json")
        takes_files = not signature.get("text") and signature["inputs"].keys() != {"seed"}
    except (loader.BundleError, KeyError, AttributeError):
        return  # a damaged one, as the loader will say
    if not takes_files:
        return
    for given in inputs:
        path = os.path.expanduser(given) if isinstance(given, str) else ""
        if not path or os.path.isfile(path):
            continue
        nearest = files.find_nearest_path(path)
        problem = "it is a folder; expected a file"
        if not os.path.exists(path):
            near = files.name_nearest(path) if nearest else files.list_beside(path)
            problem = f"No such file{near}"
        raise UserError(
            f"cannot read {given}: {problem}", instead=(given, nearest) if nearest else None
        )


def look_for_bundle(bundle: str) -> None:
    """Looks whether there is the folder or the archive of a bundle.

    Raises:
      UserError: naming the nearest folder that holds one.
    """
    if os.path.isfile(bundle):
        if is_tar(bundle):
            return
        raise UserError(
            f"--bundle={bundle} is a file, and no archive of a bundle; expected the folder of a "
            "bundle, or an archive as `export --archive` writes it"
        )
    nearest = files.find_nearest_path(bundle, holding=MANIFEST)
    inside = os.path.join(bundle, "bundle")
    if os.path.isdir(bundle):
        if os.path.exists(os.path.join(bundle, MANIFEST)):
            return
        if os.path.isdir(inside):
            raise UserError(
                f"--bundle={bundle} is no bundle (did you mean {inside!r}?)",
                instead=(bundle, inside),
            )
        if Record.exists(bundle):
            raise UserError(
                f"--bundle={bundle} holds a run, and no bundle; a run is exported first",
                try_line=["export", f"--workdir={bundle}", f"--out={inside}"],
            )
        return
    raise UserError(
        f"--bundle={bundle}: there is no such folder{files.name_nearest(bundle, holding=MANIFEST)}"
        + ("" if nearest else "; give the folder that `export` wrote"),
        instead=(bundle, nearest) if nearest else None,
    )
