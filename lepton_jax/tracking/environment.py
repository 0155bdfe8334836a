"""What this process would run with: versions, devices, caches, the registry, extras, variables."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lepton_jax.config.user_code import lacks_platform, misreads_environment
from lepton_jax.console import format_table
from lepton_jax.errors import UserError, WorkError
from lepton_jax.formats import format_bytes
from lepton_jax.installation import format_install
from lepton_jax.io.paths import cache_root
from lepton_jax.tracking.mlflow_errors import without_password
from lepton_jax.tracking.mlflow_store import store_exists, store_uri
from lepton_jax.tracking.provenance import VARIABLES, count_visible_cpus, describe_devices
from lepton_jax.version import __version__

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "ml-collections",
    "numpy", "mlflow-skinny", "tensorflow-datasets", "tensorflow", "tokenizers",
)  # fmt: skip
"""Distributions whose versions decide what runs."""

EXTRAS: Mapping[str, tuple[str, str]] = {
    "plan-tpu": ("libtpu", "run on TPUs, and compile for them"),
    "plan-gpu": ("jax-cuda13-plugin", "run on NVIDIA GPUs, and compile for them"),
    "slurm": ("submitit", "submit to Slurm"),
    "wandb": ("wandb", "the writer wandb"),
    "explain": ("shap", "the methods lime and shap of explain"),
    "search": ("optuna", "searches of an experiment"),
    "tensorboard": ("tensorboard", "look at event files"),
    "download": ("tensorflow", "download data sets of TFDS"),
}
"""What is optional: the distribution that it needs, and what it is for."""

PREFIXES = ("JAX_", "XLA_", "LEPTON_JAX_")
OTHERS = (*VARIABLES, "MLFLOW_TRACKING_URI", "TFDS_DATA_DIR", "WANDB_MODE", "XDG_DATA_HOME")
"""Environment variables that are shown; others may hold secrets."""

CACHES = {
    "xla": "compiled programs",
    "tried": "which bundles have answered here",
    "data": "decoded examples",
    "arrow": "tables",
    "tokenizers": "trained tokenizers",
    "bundles": "bundles of the registry",
}
"""The folders of the cache, with what each holds."""


@dataclass(frozen=True)
class Environment:
    """What this process would run with. A command's result."""

    python: dict[str, str]
    packages: dict[str, str | None]
    devices: dict[str, Any]
    caches: list[dict[str, Any]]
    registry: dict[str, Any]
    extras: list[dict[str, Any]]
    variables: dict[str, str]
    disk: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        yield from _block("python", [f"{self.python['version']}  {self.python['executable']}"])
        yield from _block("platform", [self.python["platform"]])
        there = [[name, version] for name, version in self.packages.items() if version]
        yield from _block("packages", format_table(there))
        yield from _block("devices", [_say_devices(self.devices)])
        caches = [
            [c["path"], format_bytes(c["bytes"]), c["holds"]] for c in self.caches if c["bytes"]
        ]
        empty = [f"{self.caches[0]['path']}  empty"]
        yield from _block("caches", format_table(caches, right={1}) if caches else empty)
        state = self.registry["error"] or ("" if self.registry["exists"] else "not made yet")
        yield from _block("registry", [f"{self.registry['address']}  {state}".rstrip()])
        free, total = (format_bytes(self.disk[k]) for k in ("free", "total"))
        yield from _block("disk", [f"{free} free of {total} at {self.disk['path']}"])
        extras = [
            [
                e["name"],
                e["version"] or "absent",
                e["purpose"],
                "" if e["version"] else e["install"],
            ]
            for e in self.extras
        ]
        yield from _block("extras", format_table(extras))
        names = [f"{name}={value}" for name, value in self.variables.items()]
        yield from _block("variables", names or ["none that matters is set"])


def describe_environment() -> Environment:
    """Collects what a run in this process and this folder would find; imports JAX."""
    return Environment(
        python={
            "version": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
        },
        packages={"lepton_jax": __version__, **{name: find_version(name) for name in PACKAGES}},
        devices=_find_devices(),
        caches=list(_find_caches()),
        registry=_find_registry(),
        extras=[
            {
                "name": name,
                "version": find_version(needed),
                "purpose": purpose,
                "install": format_install(name),
            }
            for name, (needed, purpose) in EXTRAS.items()
        ],
        variables={
            name: without_password(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(PREFIXES) or name in OTHERS
        },
        disk=_find_disk(),
    )


def find_version(distribution: str) -> str | None:
    """Returns the version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _find_devices() -> dict[str, Any]:
    """Returns what JAX sees, and why it sees nothing."""
    cpus = {"cpus": count_visible_cpus()}
    try:
        import jax

        found = describe_devices() or {}
        limits = [(d.memory_stats() or {}).get("bytes_limit") for d in jax.local_devices()]
    except Exception as e:
        if not (lacks_platform(e) or misreads_environment(e)):
            raise
        return {"count": 0, "error": (str(e).splitlines() or [""])[0], **cpus}
    return {**found, "bytes": limits[0], "error": "", **cpus}


def _say_devices(devices: Mapping[str, Any]) -> str:
    cpus = f"{devices['cpus']} visible CPU cores"
    if devices["error"] or not devices["count"]:
        return f"none: {devices['error']}; {cpus}"
    memory = f" with {format_bytes(devices['bytes'])}" if devices["bytes"] else ""
    processes = f", {devices['processes']} processes" if devices["processes"] > 1 else ""
    return (
        f"{devices['count']} x {devices['kind']} ({devices['platform']}){memory}{processes}; {cpus}"
    )


def _find_caches() -> Iterator[dict[str, Any]]:
    """Yields each folder that is kept between runs, with its size."""
    folders = {name: (cache_root() / name, holds) for name, holds in CACHES.items()}
    if chosen := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folders["xla"] = (Path(chosen), CACHES["xla"])
    for path, holds in folders.values():
        yield {"path": str(path), "holds": holds, "bytes": _measure_folder(path)}


def _measure_folder(path: Path) -> int:
    """Adds up the sizes of the files below a folder; 0 where there is none."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _find_registry() -> dict[str, Any]:
    try:
        uri = store_uri()
        found = {"address": without_password(uri), "exists": store_exists(uri)}
    except (UserError, WorkError) as e:
        return {"address": "", "exists": False, "error": str(e)}
    return {**found, "error": ""}


def _find_disk() -> dict[str, Any]:
    """Measures the disk of the current folder, below which workdirs are made."""
    path = os.getcwd()
    usage = shutil.disk_usage(path)
    return {"path": path, "free": usage.free, "total": usage.total}


def _block(name: str, lines: Sequence[str]) -> Iterator[str]:
    """Yields lines with the name of their block before the first."""
    for i, line in enumerate(lines):
        yield f"{'' if i else name:<12}{line}".rstrip()
