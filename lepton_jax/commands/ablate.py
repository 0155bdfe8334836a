"""The command `ablate`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lepton_jax.cli.arguments import command
from lepton_jax.commands import worker
from lepton_jax.config.schema import NaturalInt, PathText, PositiveInt
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.ablation.ablate import AblationResult
    from lepton_jax.ablation.dry_run import AblationDryRun


@command
def ablate(
    workdir: PathText,
    *,
    experiment: Any = "",
    config: Any = "",
    overrides: Mapping[str, Any] | None = None,
    vary: Sequence[str] = (),
    tune: Sequence[str] = (),
    seeds: PositiveInt = 3,
    folds: NaturalInt = 0,
    metric: str = "",
    mode: str = "",
    executor: str = "inprocess",
    workers: PositiveInt = 1,
    pack: str = "auto",
    retry: bool = False,
    dry_run: bool = False,
    cpus_per_task: NaturalInt = 0,
    gpus_per_node: NaturalInt = 0,
    partition: str = "",
    time: NaturalInt = 0,
    mem: str = "",
    slurm: tuple[str, ...] = (),
) -> "AblationResult | AblationDryRun":
    """Runs an experiment's trials, in packs that share a program, and answers its question.

    --experiment=NAME[:ARG]         a name or FILE.py: the question, what varies, seeds, metric,
                                    baseline
    --workdir=DIR                   one record for each trial, and report.html; the same command
                                    resumes, and runs added seeds and variants
    --config=NAME --vary KEY=V,V    without a file: a grid (--vary again for another key; the first
                                    values are the baseline that the others are compared with),
    --tune KEY=V,V                    each at the value of KEY that is best on valid,
    --seeds=3 --metric=accuracy       the number of seeds, the metric (by default that of
    --mode=max                        config.best) and its direction
    --config.path.to.key=value      a key changed in all trials, also of an experiment
    --folds=K                       cross-validation: all of it on each of K folds, held out in turn
    --executor=inprocess            inprocess, processes (of this machine) or slurm (a job array)
    --workers=N                     packs at a time, for processes and slurm
    --pack=auto                     lanes at once; auto: by a measurement; serial: one trial after
                                    another, with the same bits as alone; or a number
    --retry                         also run failed trials again
    --dry_run                       only list the trials, the programs and their cost

    Slurm: --cpus_per_task=N --gpus_per_node=N --partition=NAME --time=MINUTES --mem=64G
    --slurm=account=me,qos=low      any other option of sbatch

    Examples:
      python launch.py ablate --experiment=mnist1d --workdir=runs/mnist1d
      python launch.py ablate --config=digits_cnn --workdir=runs/rates \\
          --vary optimizer.learning_rate=1e-3,3e-3 --vary model.dropout=0.1,0.5 --seeds=5

    From Python, `experiment` may also be an Experiment, and `config` a ConfigDict or a dict.
    """
    from lepton_jax.ablation.question import experiment_file
    from lepton_jax.ablation.question.trials import expand_trials
    from lepton_jax.ablation.run.requested import check_at_once, check_executor
    from lepton_jax.ablation.same_experiment import check_same_experiment
    from lepton_jax.io import files

    files.check_can_make(workdir)
    check_executor(executor, workers)
    check_at_once(pack)
    by_file, by_flags = (given not in ("", None) for given in (experiment, config))
    if by_file == by_flags:
        raise UserError("ablate takes one of --experiment=NAME and --config=NAME")
    if by_file:
        if vary or tune:
            raise UserError("ablate: --vary and --tune go with --config=NAME")
        question = experiment_file.resolve_experiment(experiment, folds)
        if overrides:
            question = experiment_file.change_experiment(question, overrides)
    else:
        question = experiment_file.experiment_from_flags(
            config, overrides or {}, list(vary), seeds, metric, mode, folds, list(tune)
        )
    # Mistakes in any trial are told before JAX is imported.
    check_same_experiment(workdir, question, expand_trials(question))
    if dry_run:
        from lepton_jax.ablation.dry_run import describe_ablation

        return describe_ablation(
            question, workdir, executor=executor, workers=workers, at_once=pack
        )

    from lepton_jax.ablation import ablate
    from lepton_jax.cluster.slurm import SlurmRequest

    return ablate.ablate(
        question,
        workdir,
        executor=executor,
        workers=workers,
        at_once=pack,
        retry=retry,
        request=SlurmRequest(
            cpus_per_task=cpus_per_task,
            gpus_per_node=gpus_per_node,
            partition=partition,
            time=time,
            mem=mem,
            slurm=tuple(slurm),
            logs=f"{workdir}/slurm",
        ),
        run_line=worker.run_line,
    )
