"""From a config to a record: the commands of the lab."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lepton_jax.config.config import Config
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.cluster.submit import Submitted
    from lepton_jax.debug.scrutiny import Debugged
    from lepton_jax.evaluation.command import Evaluated
    from lepton_jax.plan.plan import Plan
    from lepton_jax.tracking.runs import Runs
    from lepton_jax.training.augmented import Augmented
    from lepton_jax.training.dry_run import DryRun
    from lepton_jax.training.train import TrainingResult


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
) -> "TrainingResult | DryRun":
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

        raise SystemExit(launcher.launch_processes(processes))

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
    from lepton_jax.cli import run
    from lepton_jax.cluster import submit as submission

    if not command or command[0] == "submit":
        raise UserError("submit: a command is missing, such as: train --config=... --workdir=...")
    arguments, _ = run.parse(run.known_commands(), command)
    if "config" in arguments:
        _config(arguments["config"], arguments["overrides"])
    return submission.submit_command(command, arguments, executor, name, flags)


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


def augment(
    config: Any,
    *,
    overrides: Mapping[str, str] | None = None,
    out: str = "augmented.png",
    examples: int = 6,
) -> "Augmented":
    """Draws training images as they come, and beside them what steps make of them.

    --config=FILE.py[:ARG]          the recipe; its data.train_decode and data.augment are shown
    --config.path.to.key=value      overrides one key of it
    --out=augmented.png             where the picture goes
    --examples=6                    images, a row each: the first of the run's first batch

    Examples:
      python launch.py augment --config=configs/cifar10_resnet20.py:synthetic
      python launch.py augment --config=configs/digits_cnn.py --out=mixed.png \
          --config.data.augment='flip|mixup(0.2)'
    """
    found, _ = _config(config, overrides or {})

    from lepton_jax.training import augmented

    return augmented.augmented(found, out, examples)


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
        from lepton_jax.plan.topology import parse_topology, prepare_environment

        parse_topology(topology)
        prepare_environment()
    found, _ = _config(config, overrides or {})

    from lepton_jax.plan import plan as planning

    return planning.plan_run(found, topology, hourly)


def debug(workdir: str, step: int) -> "Debugged":
    """Makes one step of a run again and says where its numbers break, or where they grow.

    --workdir=DIR                   a record, as `train` leaves it; only read
    --step=N                        the step, counted from 0: the one that `train` named

    State, batch, modules, loss, gradients and update are looked at in this order. The state comes
    from the newest checkpoint before the step; without one the run is taken from its start.

    Example:
      python launch.py debug --workdir=runs/digits --step=120
    """
    from lepton_jax.debug.scrutiny import debug as scrutinize

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


def _config(config: Any, overrides: Mapping[str, str]) -> tuple[Config, list[str]]:
    if isinstance(config, Config):
        return config, []
    if isinstance(config, str):
        from lepton_jax.config import config_file

        return config_file.load_config(config, overrides)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise UserError(f"expected a config file, a ConfigDict or a dict, got {config!r}")
    return validate_config(config), []
