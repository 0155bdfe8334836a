"""The command `submit`."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import check_arguments, command
from lepton_jax.cli.parse import parse_line
from lepton_jax.commands import COMMANDS, worker
from lepton_jax.config.schema import NaturalInt, PathText, PositiveInt
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.cluster.submit import Submitted


@command
def submit(
    command: Sequence[str],
    *,
    executor: str,
    name: str = "",
    nodes: PositiveInt = 1,
    tasks_per_node: PositiveInt = 1,
    cpus_per_task: NaturalInt = 0,
    gpus_per_node: NaturalInt = 0,
    partition: str = "",
    time: NaturalInt = 0,
    mem: str = "",
    slurm: tuple[str, ...] = (),
    logs: PathText = "slurm/%j",
    topology: str = "",
    slices: PositiveInt = 1,
    image: str = "",
    out: PathText = "",
) -> "Submitted":
    """Submits a command to a cluster; the job is restarted until its run is done.

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
          train --config=digits_cnn --workdir=/shared/runs/digits
      python launch.py submit --executor=gke --topology=v5e-16 --image=REPOSITORY/lepton:1 \\
          --out=digits.yaml train --config=digits_cnn --workdir=gs://BUCKET/digits
    """
    from lepton_jax.cluster.gke import GkeRequest
    from lepton_jax.cluster.slurm import SlurmRequest
    from lepton_jax.cluster.submit import CommandLine, Request, submit_command

    command = shlex.split(command[0]) if len(command) == 1 else command
    if not command or command[0] == "submit":
        raise UserError("submit: a command is missing, such as: train --config=... --workdir=...")
    try:
        arguments, _ = parse_line(COMMANDS, command)
    except UserError as e:
        # The line to try would be one without `submit`, so the word that is put right stands alone.
        words = zip(command, e.try_line or (), strict=False)
        changed = [(given, meant) for given, meant in words if given != meant]
        if not e.instead and len(changed) == 1 and len(e.try_line or ()) == len(command):
            e.instead = changed[0]
        e.try_line = None
        raise
    arguments = check_arguments(COMMANDS.find_of(command), arguments)
    if command[0] == "train" and (arguments["fresh"] or not arguments["workdir"]):
        raise UserError(
            "submit: train needs a --workdir, and no --fresh: a job that is started again goes on "
            "in the same folder"
        )
    if "config" in arguments:
        from lepton_jax.config.config_file import resolve_config

        resolve_config(arguments["config"], arguments["overrides"])
    requests: dict[str, Request] = {
        "slurm": SlurmRequest(
            nodes=nodes,
            tasks_per_node=tasks_per_node,
            cpus_per_task=cpus_per_task,
            gpus_per_node=gpus_per_node,
            partition=partition,
            time=time,
            mem=mem,
            slurm=tuple(slurm),
            logs=logs,
        ),
        "gke": GkeRequest(topology=topology, slices=slices, image=image, out=out),
    }
    line = CommandLine(tuple(command), arguments, worker.run_line, worker.POD_COMMAND)
    return submit_command(line, executor, name, requests)
