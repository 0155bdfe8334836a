"""Every command as a function that a notebook can call.

Each returns a small record of what it did: `str()` of it is what the command line prints,
`as_json()` what `--json` prints. Parameters are the command's flags. Heavy modules are imported
inside, by the one command that needs them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lepton_jax.config import Config
from lepton_jax.errors import UserError
from lepton_jax.validation import validate

if TYPE_CHECKING:
    from lepton_jax.ablation.command import Ablated
    from lepton_jax.ablation.dry_run import DryRun as AblationDryRun
    from lepton_jax.ablation.reproduce import Reproduced
    from lepton_jax.ablation.run_pack import Ran
    from lepton_jax.ablation.watch import Watched
    from lepton_jax.cluster.submit import Submitted
    from lepton_jax.debug.command import Debugged
    from lepton_jax.evaluation.command import Evaluated
    from lepton_jax.export.bundle import ExportResult
    from lepton_jax.export.verify import Verdict
    from lepton_jax.plan.command import Plan
    from lepton_jax.predict import Predictions
    from lepton_jax.registry.promotion import Decision
    from lepton_jax.registry.store import Version
    from lepton_jax.tracking.runs import Runs
    from lepton_jax.training.dry_run import DryRun
    from lepton_jax.training.train import Run


def train(
    config: Any,
    workdir: str,
    *,
    overrides: Mapping[str, str] | None = None,
    longer: bool = False,
    dry_run: bool = False,
    processes: int = 1,
    coordinator: str = "",
    num_processes: int = 0,
    process_id: int = -1,
) -> "Run | DryRun":
    """Trains a config in a workdir, or goes on where its run stopped.

    --config=FILE.py[:ARG]          the recipe; also a record's config.json
    --config.path.to.key=value      overrides one key of it
    --workdir=DIR                   where the record goes: config, metrics, checkpoints, results
    --longer                        go on beyond the record's own train_for
    --dry_run                       only say what it would be, and how parameters would be spread
    --processes=N                   start N processes of this command here, and watch them
    --coordinator=HOST:PORT         one process of several: where process 0 is to be reached,
    --num_processes=N                 how many there are,
    --process_id=I                    and which this is, from 0; Slurm, Open MPI and TPU pods
                                      say all three themselves

    Examples:
      python launch.py train --config=configs/digits_cnn.py --workdir=runs/digits
      python launch.py train --config=configs/digits_cnn.py --workdir=runs/sgd \\
          --config.optimizer.name=sgd --config.optimizer.learning_rate=0.1
      python launch.py train --config=configs/digits_cnn.py --workdir=runs/two --processes=2

    SIGTERM or Ctrl-C, to any of several processes, saves and stops; the same command goes on.
    From Python, `config` may also be an ml_collections.ConfigDict or a dict.
    """
    import sys

    found, notes = _config(config, overrides or {})
    if processes != 1:
        from lepton_jax.cluster import launcher

        raise SystemExit(launcher.launch(processes))

    for note in notes:
        print(note, file=sys.stderr)

    if dry_run:
        from lepton_jax.training import dry_run as described

        return described.dry_run(found, coordinator, num_processes, process_id)

    from lepton_jax.training import train as training

    return training.train(
        found,
        workdir,
        longer=longer,
        command=training.default_command(),
        coordinator=coordinator,
        num_processes=num_processes,
        process_id=process_id,
    )


def submit(
    command: Sequence[str],
    *,
    executor: str,
    name: str = "",
    nodes: int = 1,
    tasks_per_node: int = 1,
    cpus_per_task: int = 0,
    gpus_per_node: int = 0,
    partition: str = "",
    time: int = 0,
    mem: str = "",
    slurm: tuple[str, ...] = (),
    logs: str = "slurm/%j",
    topology: str = "",
    slices: int = 1,
    image: str = "",
    out: str = "",
) -> "Submitted":
    """Hands a command over to a cluster; the job comes back by itself until its run is done.

    COMMAND [--flags]               any other command, last on the line, checked before it goes
    --executor=slurm                slurm: submits a job. gke: writes a manifest, touches no cluster
    --name=NAME                     of the job; by default from the workdir

    Slurm (a preempted or timed out `train` saves, is requeued, and goes on):
    --nodes=1 --tasks_per_node=1    one process a task, which find each other by themselves
    --cpus_per_task=N --gpus_per_node=N --partition=NAME --time=MINUTES --mem=64G
    --slurm=account=me,qos=low      any other option of sbatch
    --logs=slurm/%j                 folder of the logs; %j is the job's number

    GKE (a JobSet, one Job a slice; the image holds this repository in its working directory):
    --topology=v5e-16               TPU and chips, or TPU and shape: v5p:2x2x4
    --slices=1                      slices joined over the data centre's network
    --image=IMAGE                   the container to run
    --out=FILE.yaml                 where the manifest goes; printed by default

    Examples:
      python launch.py submit --executor=slurm --gpus_per_node=8 --time=600 \\
          train --config=configs/digits_cnn.py --workdir=/shared/runs/digits
      python launch.py submit --executor=gke --topology=v5e-16 --image=REPOSITORY/lepton:1 \\
          --out=digits.yaml train --config=configs/digits_cnn.py --workdir=gs://BUCKET/digits
    """
    slurm = tuple(slurm)
    flags = {k: v for k, v in locals().items() if k not in ("command", "executor", "name")}
    from lepton_jax import cli
    from lepton_jax.cluster import submit as submission

    if not command or command[0] == "submit":
        raise UserError("submit: a command is missing, such as: train --config=... --workdir=...")
    arguments, _ = cli.parse(cli.known_commands(), command)
    if "config" in arguments:
        _config(arguments["config"], arguments["overrides"])
    return submission.submit(command, arguments, executor, name, flags)


def evaluate(workdir: str, *, split: str = "test", checkpoint: str = "best") -> "Evaluated":
    """Measures a run's checkpoint on a split and writes it into the record's results.json.

    --workdir=DIR                   a record, as `train` leaves it
    --split=test                    a split of its data, or a name of config.evals
    --checkpoint=best               best, last, or a step

    Examples:
      python launch.py evaluate --workdir=runs/digits
      python launch.py evaluate --workdir=runs/digits --split=valid --checkpoint=last
    """
    from lepton_jax.evaluation import command

    return command.evaluate(workdir, split, checkpoint)


def plan(
    config: Any,
    *,
    overrides: Mapping[str, str] | None = None,
    topology: str = "",
    price: str = "",
) -> "Plan":
    """What a run needs and how long it takes, before it is started; exit code 1 if it cannot fit.

    --config=FILE.py[:ARG]          the recipe; recipes answer to :synthetic where data is absent
    --config.path.to.key=value      overrides one key of it, e.g. the strategy
    --topology=CHIP:SHAPE           compiled for it by its own compiler: v4, v5e, v5p, v6e, a100,
                                    h100, h200; 2xv6e:4x4 are two slices. By default this machine
                                    takes a few steps
    --price=NUMBER                  of a chip for an hour, for the cost of the run

    Examples:
      python launch.py plan --config=configs/digits_cnn.py
      python launch.py plan --config=configs/cifar10_cnn.py:tiny --topology=v5e:2x2 \\
          --config.strategy.name=pmap
    """
    try:
        hourly = float(price) if price else None
    except ValueError:
        raise UserError(f"--price={price}: expected a number, of a chip for an hour") from None
    if topology:
        from lepton_jax.plan.topology import parse, prepare_environment

        parse(topology)
        prepare_environment()
    found, _ = _config(config, overrides or {})

    from lepton_jax.plan import command

    return command.plan(found, topology, hourly)


def debug(workdir: str, step: int) -> "Debugged":
    """Makes one step of a run again and says where its numbers break, or where they grow.

    --workdir=DIR                   a record, as `train` leaves it; only read
    --step=N                        the step, counted from 0: the one that `train` named

    State, batch, modules, loss, gradients and update are looked at in this order. The state comes
    from the newest checkpoint before the step; without one the run is taken from its start.

    Example:
      python launch.py debug --workdir=runs/digits --step=120
    """
    from lepton_jax.debug.command import debug as scrutinize

    return scrutinize(workdir, step)


def runs(
    inputs: Sequence[str] = (), *, where: str = "", columns: tuple[str, ...] = (), sort: str = ""
) -> "Runs":
    """Lists and compares the runs below a folder.

    DIR                             the folder; the current one by default
    --where=CONDITIONS              'optimizer.name=adam,test/accuracy>0.98': all must hold
    --columns=NAMES                 config keys and metrics to show instead of the usual ones
    --sort=NAME                     by a column; '-NAME' has the largest first

    Example:
      python launch.py runs runs --where='test/accuracy>0.9' --sort=-test/accuracy
    """
    from lepton_jax.tracking.runs import list_runs

    if len(inputs) > 1:
        raise UserError(f"runs: expected one folder, got {', '.join(inputs)}")
    folder = inputs[0] if inputs else "."
    return list_runs(folder, where or None, columns or None, sort=sort or None)


def export(workdir: str, out: str, *, checkpoint: str = "best") -> "ExportResult":
    """Writes a run's model as a bundle: a folder that answers without the lab that made it.

    --workdir=DIR                   a record, as `train` leaves it
    --out=DIR                       where the bundle goes
    --checkpoint=best               best, last, or a step

    Example:
      python launch.py export --workdir=runs/digits --out=bundles/digits
    """
    from lepton_jax.export import bundle
    from lepton_jax.training import restore
    from lepton_jax.training.runtime import runtime

    with runtime(restore.read_config(workdir).precision):
        return bundle.export(restore.trained(workdir, checkpoint), out)


def verify(bundle: str, *, workdir: str = "") -> "Verdict":
    """Proves, in a clean process, that a bundle is whole and computes what it says.

    --bundle=DIR                    as `export` leaves it
    --workdir=DIR                   the run it came from, where its data is to be found

    The verdict lies beside the manifest and names the bundle's id. Exit code 1 if it does not hold.

    Example:
      python launch.py verify --bundle=bundles/digits
    """
    from lepton_jax.export import verify as verification

    return verification.verify(bundle, workdir=workdir or None)


def register(bundle: str, model: str) -> "Version":
    """Adds a verified bundle to the registry as a new version of a model.

    --bundle=DIR                    verified, and unchanged since
    --model=NAME                    whose version it becomes

    The registry is an embedded one below ~/.local/share/lepton_jax, another folder by
    LEPTON_JAX_REGISTRY, or any MLflow server by MLFLOW_TRACKING_URI.

    Example:
      python launch.py register --bundle=bundles/digits --model=digits
    """
    from lepton_jax.registry import store

    return store.register(bundle, model)


def promote(*, bundle: str = "", model: str = "", to: str = "staging") -> "Decision":
    """Moves an alias to a version, if it is verified, unchanged and meets the model's gate.

    --model=NAME[/VERSION]          the newest version by default
    --bundle=DIR                    registers it first, if it has no version yet
    --to=staging                    staging or production

    Examples:
      python launch.py promote --model=digits --to=staging
      python launch.py promote --bundle=bundles/digits --model=digits --to=production
    """
    from lepton_jax.registry import promotion

    return promotion.promote(bundle=bundle or None, model=model or None, to=to)


def registry(
    inputs: Sequence[str] = (), *, model: str = "", to: str = "staging", require: str = ""
) -> Any:
    """What the registry holds, and what it asks for.

    list                            every model, its versions and aliases
    show --model=NAME               its gate, versions and their metrics
    diff NAME/1 NAME@staging        what two versions state differently
    history --model=NAME            every decision and every move of an alias
    rollback --model=NAME --to=...  the alias back to the version it had before
    gate --model=NAME               what a version must meet to be promoted
    gate --model=NAME --require='test/accuracy>=0.98,test/loss<=0.1'

    Example:
      python launch.py registry list
    """
    from lepton_jax.errors import did_you_mean
    from lepton_jax.registry import promotion, views

    actions = ("list", "show", "diff", "history", "rollback", "gate")
    action, *rest = inputs or ("list",)
    if action not in actions:
        near = did_you_mean(action, actions)
        raise UserError(f"registry: no action {action!r}{near}; there are: {', '.join(actions)}")
    if len(rest) != (2 if action == "diff" else 0):
        raise UserError(
            "registry diff takes two versions, e.g. digits/1 digits@staging; the others"
            f" take --model=NAME; got {' '.join(inputs)}"
        )
    if action not in ("list", "diff") and not model:
        raise UserError(f"registry {action}: --model is missing")
    match action:
        case "list":
            return views.listing()
        case "show":
            return views.show(model)
        case "diff":
            return views.diff(*rest)
        case "history":
            return promotion.history(model)
        case "rollback":
            return promotion.rollback(model, to)
    return promotion.gate(model, require.split(",") if require else None)


def ablate(
    workdir: str,
    *,
    experiment: str = "",
    config: str = "",
    overrides: Mapping[str, str] | None = None,
    vary: list[str] = (),  # type: ignore[assignment]
    seeds: int = 3,
    metric: str = "accuracy",
    mode: str = "max",
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
) -> "Ablated | AblationDryRun":
    """Runs an experiment's trials, those at once that share a program, and answers its question.

    --experiment=experiments/X.py   the question, what varies, seeds, metric, baseline
    --workdir=DIR                   a record a trial, and report.html; the same command goes on,
                                    and runs what was added to the experiment
    --config=FILE.py --vary KEY=V,V without a file: a grid (--vary again for another key),
    --seeds=3 --metric=accuracy       with so many seeds, a metric, and
    --mode=max                        its direction
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
    from lepton_jax.ablation import experiment_file

    if bool(experiment) == bool(config):
        raise UserError("ablate takes one of --experiment=FILE.py and --config=FILE.py")
    if experiment:
        if vary or overrides:
            raise UserError("ablate: --vary and --config.key=value go with --config=FILE.py")
        question = experiment_file.load(experiment)
    else:
        question = experiment_file.from_flags(config, overrides or {}, vary, seeds, metric, mode)
    if dry_run:
        from lepton_jax.ablation import dry_run as described

        return described.dry_run(question, workdir, executor, workers, pack)

    from lepton_jax.ablation import command

    request = {
        "cpus_per_task": cpus_per_task,
        "gpus_per_node": gpus_per_node,
        "partition": partition,
        "time": time,
        "mem": mem,
        "slurm": slurm,
        "logs": f"{workdir}/slurm/%A_%a",
    }
    return command.ablate(
        question,
        workdir,
        executor=executor,
        workers=workers,
        at_once=pack,
        retry=retry,
        request=request,
    )


def pack(folder: str) -> "Ran":
    """Runs one pack of an experiment's trials; `ablate` calls it on whatever machine it chose.

    --folder=W/packs/ID             as `ablate` wrote it

    Example:
      python launch.py pack --folder=runs/mnist1d/packs/0123456789ab-01234567
    """
    from lepton_jax.ablation import run_pack

    return run_pack.run(folder)


def watch(workdir: str) -> "Watched":
    """How far an experiment is: what runs, what has ended, the best so far, the time left.

    --workdir=DIR                   as given to `ablate`; on a terminal it keeps looking

    Example:
      python launch.py watch --workdir=runs/mnist1d
    """
    from lepton_jax.ablation import watch as watching

    return watching.watch(workdir)


def reproduce(
    experiment: str,
    *,
    workdir: str = "",
    executor: str = "inprocess",
    workers: int = 1,
    pack: str = "auto",
) -> "Reproduced":
    """Runs an experiment and sets its numbers beside the published ones; exit code 0 if all hold.

    --experiment=experiments/X.py   one with a table of published numbers
    --workdir=DIR                   by default runs/NAME
    --executor --workers --pack     as for `ablate`

    Example:
      python launch.py reproduce --experiment=experiments/mnist1d.py
    """
    import os

    from lepton_jax.ablation import experiment_file
    from lepton_jax.ablation import reproduce as reproduction

    name = os.path.splitext(os.path.basename(experiment))[0]
    return reproduction.reproduce(
        experiment_file.load(experiment),
        workdir or f"runs/{name}",
        executor=executor,
        workers=workers,
        at_once=pack,
    )


def predict(
    inputs: Sequence[Any] = (), *, bundle: str = "", model: str = "", examples: int = 0
) -> "Predictions":
    """Answers from a bundle or a registered model, drawn in the terminal.

    FILE ...                        images (brought to size as the bundle declares) or .npy arrays
    --model=NAME@ALIAS              from the registry, whose digest is checked; or NAME/VERSION
    --bundle=DIR                    or from a folder
    --examples=N                    the bundle's own held-out examples, with the truth beside

    Examples:
      python launch.py predict --model=digits@staging --examples=8
      python launch.py predict --bundle=bundles/digits seven.png
    """
    from lepton_jax.predict import predict as answer

    return answer(bundle=bundle or None, model=model or None, inputs=inputs, examples=examples)


def _config(config: Any, overrides: Mapping[str, str]) -> tuple[Config, list[str]]:
    if isinstance(config, Config):
        return config, []
    if isinstance(config, str):
        from lepton_jax import config_file

        return config_file.load(config, overrides)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise UserError(f"expected a config file, a ConfigDict or a dict, got {config!r}")
    return validate(config), []
