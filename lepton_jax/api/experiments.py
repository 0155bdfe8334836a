"""From a question to an answer: the commands of the ablation engine."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.ablation.ablate import AblationResult
    from lepton_jax.ablation.dry_run import AblationDryRun as AblationDryRun
    from lepton_jax.ablation.report.view import Viewed
    from lepton_jax.ablation.report.watch import ExperimentStatus
    from lepton_jax.ablation.reproduce import ReproductionResult
    from lepton_jax.ablation.run.run_pack import PackResult


def ablate(
    workdir: str,
    *,
    experiment: str = "",
    config: str = "",
    overrides: Mapping[str, str] | None = None,
    vary: list[str] = (),  # type: ignore[assignment]
    seeds: int = 3,
    metric: str = "",
    mode: str = "",
    executor: str = "inprocess",
    workers: int = 1,
    pack: str = "auto",
    retry: bool = False,
    dry_run: bool = False,
    cpus_per_task: int = 0,
    gpus_per_node: int = 0,
    partition: str = "",
    time: int = 0,
    mem: str = "",
    slurm: tuple[str, ...] = (),
) -> "AblationResult | AblationDryRun":
    """Runs an experiment's trials, those at once that share a program, and answers its question.

    --experiment=FILE.py[:ARG]      the question, what varies, seeds, metric, baseline
    --workdir=DIR                   a record a trial, and report.html; the same command goes on,
                                    and runs what was added to the experiment
    --config=FILE.py --vary KEY=V,V without a file: a grid (--vary again for another key),
    --seeds=3 --metric=accuracy       with so many seeds, a metric if it is not that of the
    --mode=max                        config's best, and its direction
    --config.path.to.key=value        and a key changed in all of them
    --executor=inprocess            inprocess, processes (of this machine) or slurm (a job array)
    --workers=N                     packs at a time, for processes and slurm
    --pack=auto                     lanes at once: measured; serial: one after another, bit for bit
                                    as alone; or a number
    --retry                         also run again what failed by its own error
    --dry_run                       only say which trials, how many programs, what cost

    Slurm: --cpus_per_task=N --gpus_per_node=N --partition=NAME --time=MINUTES --mem=64G
    --slurm=account=me,qos=low      any other option of sbatch

    Examples:
      python launch.py ablate --experiment=experiments/mnist1d.py --workdir=runs/mnist1d
      python launch.py ablate --config=configs/digits_cnn.py --workdir=runs/rates \\
          --vary optimizer.learning_rate=1e-3,3e-3 --vary model.dropout=0.1,0.5 --seeds=5
    """
    from lepton_jax.ablation.question import experiment_file

    if bool(experiment) == bool(config):
        raise UserError("ablate takes one of --experiment=FILE.py and --config=FILE.py")
    if experiment:
        if vary or overrides:
            raise UserError("ablate: --vary and --config.key=value go with --config=FILE.py")
        question = experiment_file.load_experiment(experiment)
    else:
        question = experiment_file.experiment_from_flags(
            config, overrides or {}, vary, seeds, metric, mode
        )
    if dry_run:
        from lepton_jax.ablation import dry_run as described

        return described.describe_ablation(question, workdir, executor, workers, pack)

    from lepton_jax.ablation import ablate

    request = {
        "cpus_per_task": cpus_per_task,
        "gpus_per_node": gpus_per_node,
        "partition": partition,
        "time": time,
        "mem": mem,
        "slurm": slurm,
        "logs": f"{workdir}/slurm",
    }
    return ablate.ablate(
        question,
        workdir,
        executor=executor,
        workers=workers,
        at_once=pack,
        retry=retry,
        request=request,
    )


def pack(folder: str) -> "PackResult":
    """Runs one pack of an experiment's trials; `ablate` calls it on whatever machine it chose.

    --folder=W/packs/ID             as `ablate` wrote it

    Example:
      python launch.py pack --folder=runs/mnist1d/packs/0123456789ab-01234567
    """
    from lepton_jax.ablation.run import run_pack

    return run_pack.run_pack(folder, run_pack.CompiledLanes())


def watch(workdir: str) -> "ExperimentStatus":
    """How far an experiment is: what runs, what has ended, the best so far, the time left.

    --workdir=DIR                   as given to `ablate`; on a terminal it keeps looking

    Example:
      python launch.py watch --workdir=runs/mnist1d
    """
    from lepton_jax.ablation.report import watch as watching

    return watching.watch(workdir)


def view(workdir: str, tool: str) -> "Viewed":
    """Shows an experiment's trials in TensorBoard, with its hparams tab, or in MLflow.

    --workdir=DIR                   as given to `ablate`
    --tool=tensorboard|mlflow       MLflow's store: $MLFLOW_TRACKING_URI, else the registry's

    Example:
      python launch.py view --workdir=runs/mnist1d --tool=tensorboard
    """
    from lepton_jax.ablation.report import view as viewing

    return viewing.view(workdir, tool)


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
    import os

    from lepton_jax.ablation import reproduce as reproduction
    from lepton_jax.ablation.question import experiment_file

    name = os.path.basename(experiment).replace(".py", "").replace(":", "_")
    return reproduction.reproduce(
        experiment_file.load_experiment(experiment),
        workdir or f"runs/{name}",
        executor=executor,
        workers=workers,
        at_once=pack,
    )
