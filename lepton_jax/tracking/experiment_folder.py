"""Tells an experiment's folder from a run's: neither may be where the other is."""

from collections.abc import Sequence

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


def no_record_error(workdir: str, gone: Sequence[str]) -> UserError:
    """Makes the error of a folder that should hold the record of a run, and lacks the files `gone`.

    It names an experiment's trials, else the nearest folder that holds a record.
    """
    if is_experiment(workdir):
        trials = files.join_path(workdir, "trials")
        return UserError(
            f"{workdir} holds {describe_experiment(workdir)}, and no record of a run; each trial "
            f"in {trials} has one",
            try_line=["runs", workdir],
        )
    nearest = files.find_nearest_path(workdir, holding="config.json")
    return UserError(
        f"{workdir} holds no record of a run (no {' and '.join(gone)})"
        f"{files.name_nearest(workdir, holding='config.json')}",
        instead=(workdir, nearest) if nearest else None,
        try_line=None if nearest else ["runs", files.find_folder(workdir)],
    )
