"""`submit`: which executor takes a command, and which flags are that executor's own."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from lepton_jax.cluster import gke, slurm
from lepton_jax.errors import UserError, did_you_mean

REQUESTS = {"slurm": slurm.SlurmRequest, "gke": gke.GkeRequest}

Submitted = slurm.SlurmJob | gke.JobSetManifest


def submit_command(
    command: Sequence[str],
    arguments: Mapping[str, Any],
    executor: str,
    name: str,
    flags: Mapping[str, Any],
) -> Submitted:
    """Hands over a command that has been checked.

    Args:
      command: words of a `launch.py` command line.
      arguments: the same, parsed.
      executor: one of `REQUESTS`.
      name: of the job; from the workdir, else from the command, if empty.
      flags: every executor's flags.

    Raises:
      UserError: for an unknown executor, a flag of another one, or what the executor refuses.
    """
    if executor not in REQUESTS:
        raise UserError(
            f"submit: no executor {executor!r}{did_you_mean(executor, REQUESTS)}; "
            f"there are: {', '.join(REQUESTS)}"
        )
    for other, request in REQUESTS.items():
        for f in fields(request):
            if other != executor and flags[f.name] != f.default:
                raise UserError(f"submit: --{f.name} is a flag of --executor={other}")
    if arguments.get("processes", 1) != 1:
        raise UserError(
            f"submit: {command[0]} --processes is for one machine; Slurm starts --tasks_per_node, "
            "and GKE one process a host"
        )
    own = {f.name: flags[f.name] for f in fields(REQUESTS[executor])}
    workdir = str(arguments.get("workdir") or "").rstrip("/")
    name = name or workdir.rpartition("/")[2] or command[0]
    if executor == "gke":
        return gke.write_manifest(command, arguments, name, gke.GkeRequest(**own))
    return slurm.submit_job(command, arguments, name, slurm.SlurmRequest(**own))
