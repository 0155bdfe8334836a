"""Where a run came from: code, versions, machine and command line.

The environment is not recorded, as it holds secrets; only the few variables that change what XLA
computes are, by name. Neither are git remotes, whose addresses may hold a token.
"""

import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_jax.config.config import Config, find_user_modules
from lepton_jax.data.dataset import Dataset
from lepton_jax.io.timestamps import utc_timestamp

if TYPE_CHECKING:
    from lepton_jax.placement.mesh import BatchPlacement

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "JAX_ENABLE_X64",
    "JAX_NUM_CPU_DEVICES",
    "JAX_PLATFORMS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "XLA_FLAGS",
)
"""The environment variables that can change the numbers of a run."""

LONGEST_DIFF = 1_000_000
"""Characters of a diff that are kept; its digest covers all of it."""


def default_command() -> list[str]:
    """Returns the command line of this process, the program by its name alone."""
    return [os.path.basename(sys.argv[0]), *sys.argv[1:]]


def collect_provenance(command: Sequence[str]) -> dict[str, Any]:
    """Collects what can be known about this process, as plain JSON values.

    Args:
      command: the command line, a word each.

    Returns:
      Among others `code`, the state of the working folder's git repository, and `harness_code`,
      that of this package's repository if it is another one. `devices` is None unless jax has been
      imported.
    """
    code = git_state(Path.cwd())
    harness = git_state(Path(__file__).parent, tracking=Path(__file__).name)
    return {
        "command": shlex.join(command),
        "time": utc_timestamp(zone="Z"),
        "code": code,
        "harness_code": harness if harness != code else None,
        "package": digest_package(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "processor": describe_processor(),
        "host": socket.gethostname(),
        "visible_cpus": count_visible_cpus(),
        "devices": describe_devices(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def describe_origin(
    collected: Mapping[str, Any], config: Config, data: Dataset, placement: "BatchPlacement"
) -> dict[str, Any]:
    """Adds to collected provenance what a run was made from: its config, data and components.

    `placement`: on which of the devices it computes, and how.
    """
    return {
        **collected,
        "fingerprint": config.fingerprint(),
        "data_fingerprint": data.fingerprint,
        "data_account": data.account.as_json(),
        "classes": list(data.spec.classes),
        "components": digest_modules(find_user_modules(config)),
        "seed": config.seed,
        "placement": placement.as_json(),
    }


def say_placement(placement: Mapping[str, Any]) -> str:
    """Writes the placement of a provenance: `8 cpu in 2 processes, strategy mesh data=2 fsdp=4`."""
    processes, axes = placement["processes"], placement["axes"]
    return " ".join(
        [
            f"{placement['devices']} {placement['kind']}"
            + (f" in {processes} processes" if processes > 1 else "")
            + f", strategy {placement['strategy']}",
            *(f"{axis}={size}" for axis, size in axes.items() if size > 1),
            *(["spread_moments"] if placement.get("spread_moments") else []),
        ]
    )


def digest_modules(names: Sequence[str]) -> dict[str, str]:
    """Computes the SHA-256 of the source of each module that has been imported."""
    digests = {}
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and os.path.isfile(file):
            digests[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return digests


@functools.cache
def digest_package() -> str:
    """Computes the SHA-256 of the sources of this package, by their names and contents.

    Unlike a commit it stays where documentation, configs and the user's own files change.
    """
    sha256, package = hashlib.sha256(), Path(__file__).parent.parent
    for path in sorted(package.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        sha256.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return sha256.hexdigest()


@functools.cache
def package_versions() -> dict[str, str]:
    """Lists the installed distributions and their versions, as the process first found them."""
    # `metadata` reads and parses a file at each access.
    headers = [distribution.metadata for distribution in importlib.metadata.distributions()]
    versions = {header["Name"]: header["Version"] for header in headers}
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def count_visible_cpus() -> int:
    """Counts the CPUs that this process may use: XLA's threads, and so its sums, depend on it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def describe_processor() -> str:
    """Returns the model of the CPU, for whose instructions XLA compiles; '' where none says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


def describe_devices() -> dict[str, Any] | None:
    """Describes the devices that jax sees; None if jax has not been imported yet."""
    jax = sys.modules.get("jax")
    if jax is None:
        return None
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "processes": jax.process_count(),
    }


def git_state(folder: Path, tracking: str = "") -> dict[str, Any] | None:
    """Reads the commit, branch and uncommitted changes of the git repository around `folder`.

    `diff` is against the commit and `untracked` lists files that it leaves out. None without git,
    outside a repository, or where the repository does not track the file called `tracking`.
    """
    if _git(folder, "rev-parse", "--show-toplevel") is None:
        return None
    if tracking and _git(folder, "ls-files", "--error-unmatch", "--", tracking) is None:
        return None
    diff = _git(folder, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD") or ""
    untracked = _git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", ":/")
    return {
        "commit": _line(_git(folder, "rev-parse", "HEAD")),
        "branch": _line(_git(folder, "symbolic-ref", "--short", "-q", "HEAD")),
        "diff": diff[:LONGEST_DIFF],
        "diff_sha256": hashlib.sha256(diff.encode()).hexdigest() if diff else None,
        "untracked": (untracked or "").splitlines(),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _line(output: str | None) -> str | None:
    return output.strip() if output else None
