"""Tells an experiment's folder from a run's: neither may be where the other is."""

from lepton_jax.errors import UserError, WorkError
from lepton_jax.formats import count_things
from lepton_jax.io import files
from lepton_jax.io.files import Path
from lepton_jax.tracking.new_workdir import next_workdir

EXPERIMENT = "experiment.json"
"""The file that makes a folder an experiment's."""


def is_experiment(folder: Path) -> bool:
    """Tells whether a folder is an experiment's."""
    return files.exists(files.join_path(folder, EXPERIMENT))


def describe_experiment(folder: Path) -> str:
    """Names an experiment by its size, `an experiment of 9 trials`; without it where the file is
    damaged."""
    try:
        trials = files.read_object(files.join_path(folder, EXPERIMENT), trials=list)["trials"]
    except WorkError:
        return "an experiment"
    return f"an experiment of {count_things(len(trials), 'trial')}"


def refuse_experiment(workdir: str) -> None:
    """Refuses to begin a run in an experiment's folder.

    Raises:
      UserError: naming a free folder beside it.
    """
    if is_experiment(workdir):
        raise UserError(
            f"{workdir} holds {describe_experiment(workdir)}; choose another --workdir",
            instead=("--workdir", f"--workdir={next_workdir(workdir)}"),
        )
