"""The command `reproduce`."""

import os
from typing import TYPE_CHECKING

from lepton_jax.commands import worker

if TYPE_CHECKING:
    from lepton_jax.ablation.reproduce import ReproductionResult


def reproduce(
    experiment: str,
    *,
    workdir: str = "",
    executor: str = "inprocess",
    workers: int = 1,
    pack: str = "auto",
) -> "ReproductionResult":
    """Runs an experiment and sets its numbers beside the published ones; exit code 0 if all hold.

    --experiment=FILE.py[:ARG]      one with a table of published numbers
    --workdir=DIR                   by default runs/NAME
    --executor --workers --pack     as for `ablate`

    Example:
      python launch.py reproduce --experiment=experiments/mnist1d.py
    """
    from lepton_jax.ablation import reproduce
    from lepton_jax.ablation.question.experiment_file import load_experiment

    name = os.path.basename(experiment).replace(".py", "").replace(":", "_")
    return reproduce.reproduce(
        load_experiment(experiment),
        workdir or f"runs/{name}",
        executor=executor,
        workers=workers,
        at_once=pack,
        run_line=worker.run_line,
    )
