"""Google Kubernetes Engine: a command on TPU slices, as a JobSet for `kubectl apply`.

A JobSet (jobset.x-k8s.io/v1alpha2) holds one Job a slice, and a Job one pod a host. GKE puts the
slice's hosts into each pod's environment (TPU_WORKER_ID, TPU_WORKER_HOSTNAMES, and MEGASCALE_*
between slices), where JAX finds them. When a pod fails the whole set starts again, and goes on
from the last checkpoint.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.errors import UserError, did_you_mean

MAX_RESTARTS = 10
"""After failures and preemptions; a user's mistake (exit code 2) ends the set at once."""
GRACE = 120
"""Seconds that a pod has to save after SIGTERM. A spot node grants less whatever is asked for."""
PORTS = (8471, 8080, 8431, 8482)
"""Of TPU workers, of slices, of TPU metrics, and of JAX's coordinator."""


@dataclass(frozen=True)
class TpuKind:
    """A kind of TPU, as GKE labels its nodes."""

    label: str
    shapes: tuple[str, ...]
    """Every topology of a two-dimensional kind; none for 3-D ones, whose chips give no shape."""


FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
TPUS = {
    "v4": TpuKind("tpu-v4-podslice", ()),
    "v5e": TpuKind("tpu-v5-lite-podslice", FLAT),
    "v5p": TpuKind("tpu-v5p-slice", ()),
    "v6e": TpuKind("tpu-v6e-slice", FLAT),
}


@dataclass(frozen=True)
class GkeRequest:
    """What a JobSet asks for."""

    topology: str = ""
    """'v5e-16' (kind and chips) or 'v5p:2x2x4' (kind and shape)."""
    slices: int = 1
    image: str = ""
    """The container to run."""
    out: str = ""
    """The file to write; '' for none."""


@dataclass(frozen=True)
class TpuSlice:
    """TPU chips joined by their own network: `hosts` machines with `chips_per_host` each."""

    label: str
    shape: str
    hosts: int
    chips_per_host: int


@dataclass(frozen=True)
class JobSetManifest:
    """A JobSet, and the file it was written to ('' for none)."""

    jobset: dict[str, Any]
    path: str

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "jobset": self.jobset}

    def yaml(self) -> str:
        """Returns the JobSet as `kubectl` reads it."""
        import yaml

        text: str = yaml.safe_dump(self.jobset, sort_keys=False)
        return text

    def __str__(self) -> str:
        if not self.path:
            return self.yaml().rstrip()
        name = self.jobset["metadata"]["name"]
        return (
            f"Wrote {self.path}; nothing has been started.\n"
            f"Start it: kubectl apply -f {self.path}\n"
            f"Watch it: kubectl get jobset {name}\n"
            f"          kubectl logs -f -l jobset.sigs.k8s.io/jobset-name={name}"
        )


def write_manifest(
    command: Sequence[str],
    arguments: Mapping[str, Any],
    name: str,
    request: GkeRequest,
    program: Sequence[str],
) -> JobSetManifest:
    """Returns the JobSet that runs a `launch.py` command line, and writes it to `request.out`.

    Args:
      program: the words that a container runs before those of the command line.

    Raises:
      UserError: for what cannot run there, or a file that cannot be written.
    """
    for flag in ("topology", "image"):
        if not getattr(request, flag):
            raise UserError(f"submit --executor=gke: --{flag} is missing")
    if request.slices < 1:
        raise UserError(f"submit: --slices={request.slices}: expected at least 1")
    for flag in ("workdir", "out", "bundle"):
        path = str(arguments.get(flag) or "")
        if path and "://" not in path:
            raise UserError(
                f"{command[0]} --{flag}={path}: pods share no disk, so that it must be in a "
                f"bucket, such as gs://BUCKET/{path.strip('./')}"
            )
    tpu = parse_slice(request.topology)
    manifest = JobSetManifest(
        _jobset((*program, *command), _label(name), request, tpu), request.out
    )
    if request.out:
        try:
            with open(request.out, "w", encoding="utf-8") as f:
                f.write(manifest.yaml())
        except OSError as e:
            raise UserError(f"cannot write --out={request.out}: {e.strerror}") from None
    return manifest


def parse_slice(text: str) -> TpuSlice:
    """Parses 'v5e-16' (chips) or 'v5e:4x4' (shape) into a slice.

    Raises:
      UserError: when there is no such slice; it names those that there are.
    """
    match = re.fullmatch(r"(\w+)(?:-(\d+)|:(\d+(?:x\d+){1,2}))", text)
    if not match:
        raise UserError(f"--topology={text}: expected one like v5e-16 or v5p:2x2x4")
    kind, chips, shape = match.groups()
    if kind not in TPUS:
        near = did_you_mean(kind, TPUS)
        raise UserError(f"--topology={text}: no TPU {kind!r}{near}; there are: {', '.join(TPUS)}")
    tpu = TPUS[kind]
    if chips and not tpu.shapes:
        raise UserError(
            f"--topology={text}: chips of a {kind} can be arranged in several ways; "
            f"give the shape, such as {kind}:2x2x4"
        )
    shape = shape or next((s for s in tpu.shapes if _chips(s) == int(chips)), "")
    sides = sorted(int(n) for n in shape.split("x")) if shape else []
    fits = shape in tpu.shapes if tpu.shapes else len(sides) == 3 and _is_torus(sides)
    if not fits:
        choices = ", ".join(f"{kind}:{s}" for s in tpu.shapes or ("2x2x1", "2x2x2", "2x2x4"))
        more = "" if tpu.shapes else ", 2x4x4, 4x4x4 and multiples of four"
        raise UserError(f"--topology={text}: no such slice; there are: {choices}{more}")
    count = _chips(shape)
    # Up to eight chips of a flat kind are one machine; larger slices have four chips a machine.
    per_host = count if tpu.shapes and count <= 8 else 4
    return TpuSlice(tpu.label, shape, count // per_host, per_host)


def _is_torus(sides: list[int]) -> bool:
    """Returns whether v4 and v5p have such a slice: a part of a 4 x 4 x 4 cube, or whole cubes."""
    parts = ([1, 2, 2], [2, 2, 2], [2, 2, 4], [2, 4, 4])
    return sides in parts or all(n > 0 and n % 4 == 0 for n in sides)


def _chips(shape: str) -> int:
    return math.prod(int(n) for n in shape.split("x"))


def _label(name: str) -> str:
    """Returns a name as Kubernetes takes it, short enough for the endings of the pods' names."""
    label = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    if not label or not label[0].isalpha():
        raise UserError(f"--name={name}: a JobSet's name begins with a letter, such as digits-1")
    return label


def _jobset(
    command: Sequence[str], name: str, request: GkeRequest, tpu: TpuSlice
) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": request.image,
        "command": list(command),
        "ports": [{"containerPort": port} for port in PORTS],
        "securityContext": {"privileged": True},  # TPU devices of the host
        "resources": {"limits": {"google.com/tpu": str(tpu.chips_per_host)}},
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE,
        "hostNetwork": True,  # between slices, at the network card's own speed
        "dnsPolicy": "ClusterFirstWithHostNet",
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": tpu.label,
            "cloud.google.com/gke-tpu-topology": tpu.shape,
        },
        "containers": [container],
    }
    mistake = {"containerName": "main", "operator": "In", "values": [2]}
    job = {
        "parallelism": tpu.hosts,
        "completions": tpu.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,  # a slice works whole or not at all
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": mistake}]},
        "template": {"spec": pod},
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": name,
            "annotations": {
                # A slice's pods go to one node pool, which is one slice, and no other's do.
                "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
            },
        },
        "spec": {
            "network": {"enableDNSHostnames": True},
            "failurePolicy": {
                "maxRestarts": MAX_RESTARTS,
                "rules": [
                    {
                        "name": "mistake",
                        "action": "FailJobSet",
                        "onJobFailureReasons": ["PodFailurePolicy"],
                    }
                ],
            },
            "replicatedJobs": [
                {"name": "slice", "replicas": request.slices, "template": {"spec": job}}
            ],
        },
    }
