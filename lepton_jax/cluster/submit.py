"""`submit`: which executor takes a command line, and which flags are that executor's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lepton_jax.cluster import gke, slurm
from lepton_jax.errors import UserError, choice_error

Submitted = slurm.SlurmJob | gke.JobSetManifest
Request = slurm.SlurmRequest | gke.GkeRequest


@dataclass(frozen=True)
class CommandLine:
    """A checked command line of `launch.py`, and what runs it in a job."""

    words: Sequence[str]
    arguments: Mapping[str, Any]
    """The words, parsed."""
    run_line: slurm.RunLine
    pod_program: Sequence[str]
    """What a pod runs, before the words."""


def submit_command(
    line: CommandLine, executor: str, name: str, requests: Mapping[str, Request]
) -> Submitted:
    """Hands a command line over to an executor.

    Args:
      executor: a name in `requests`.
      name: the job's; if empty, the workdir's name, or else the command's.
      requests: what each executor is asked for; all but the chosen one's must be defaults.

    Raises:
      UserError: for an unknown executor, a flag of another one, or what the executor refuses.
    """
    if executor not in requests:
        raise choice_error("submit: no executor", executor, requests, "--executor")
    for other, request in requests.items():
        for f in fields(request):
            if other != executor and getattr(request, f.name) != f.default:
                raise UserError(f"submit: --{f.name} is a flag of --executor={other}")
    command = line.words[0]
    if line.arguments.get("processes", 1) != 1:
        raise UserError(
            f"submit: {command} --processes is for one machine; Slurm starts --tasks_per_node, "
            "and GKE one process a host"
        )
    workdir = str(line.arguments.get("workdir") or "").rstrip("/")
    name = name or workdir.rpartition("/")[2] or command
    request = requests[executor]
    if isinstance(request, gke.GkeRequest):
        return gke.write_manifest(line.words, line.arguments, name, request, line.pod_program)
    return slurm.submit_job(line.words, line.arguments, name, request, line.run_line)
