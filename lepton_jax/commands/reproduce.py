"""The command `reproduce`."""

import os
from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.commands import worker
from lepton_jax.config.schema import PathText, PositiveInt
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.ablation.reproduce import ReproductionResult


@command
def reproduce(
    experiment: Any,
    *,
    workdir: PathText = "",
    executor: str = "inprocess",
    workers: PositiveInt = 1,
    pack: str = "auto",
) -> "ReproductionResult":
    """Runs an experiment and sets its numbers beside the published ones; exit code 0 if all hold.

    --experiment=NAME[:ARG]         a name or FILE.py: one with a table of published numbers
    --workdir=DIR                   by default runs/NAME
    --executor --workers --pack     as for `ablate`

    Example:
      python launch.py reproduce --experiment=mnist1d
    """
    from lepton_jax.ablation.question.experiment_file import resolve_experiment
    from lepton_jax.ablation.question.trials import expand_trials
    from lepton_jax.ablation.run.requested import check_at_once, check_executor
    from lepton_jax.io import files

    files.check_can_make(workdir or "runs")
    check_executor(executor, workers)
    check_at_once(pack)
    question = resolve_experiment(experiment)
    if not workdir and question is experiment:
        raise UserError("reproduce: --workdir is missing: an Experiment has no file to name it by")
    name = os.path.basename(experiment).replace(".py", "").replace(":", "_") if not workdir else ""
    expand_trials(question)  # mistakes in any trial are told before JAX is imported
    from lepton_jax.ablation import reproduce

    return reproduce.reproduce(
        question,
        workdir or f"runs/{name}",
        executor=executor,
        workers=workers,
        at_once=pack,
        run_line=worker.run_line,
    )
