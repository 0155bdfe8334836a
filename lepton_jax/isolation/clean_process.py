"""The clean process in which a bundle is judged: only the loader and the packages it needs."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.errors import WorkError
from lepton_jax.installation import format_install
from lepton_jax.isolation import isolated
from lepton_jax.serving import loader

PACKAGES = (
    *("jax", "jaxlib", "ml_dtypes", "numpy", "opt_einsum", "scipy"),
    *("PIL", "flatbuffers", "safetensors"),
)
"""All that a process needs to answer from a bundle's StableHLO program."""

ONNX_PACKAGES = ("numpy", "onnxruntime")
"""All that it needs to answer from the ONNX program."""

ABSENT = ("flax", "lepton_jax", "optax", "orbax")
"""The lab, of which a bundle must not need anything."""

TIMEOUT_SECONDS = 900
"""How long the process may take, by default."""

MEMORY = 6 << 30
MEMORY_OF_WEIGHTS = 6
"""Bytes that the process may use: so many, and so many times those of the bundle's weights."""


def run_isolated(
    folder: Path,
    identity: str,
    inputs: Sequence[Mapping[str, np.ndarray]],
    texts: Sequence[Sequence[str]] = (),
    *,
    program: str = "stablehlo",
    whole: Sequence[Mapping[str, np.ndarray]] = (),
    rows: Sequence[Sequence[int]] = (),
    measured: Sequence[int] = (),
    sized: bool = False,
    seconds: float = TIMEOUT_SECONDS,
) -> tuple[dict[str, Any], list[dict[str, np.ndarray]]]:
    """Computes answers in a process that has only the loader, and PACKAGES or ONNX_PACKAGES.

    Args:
      whole: more inputs, whose texts are not cut to their own length.
      rows: texts as tokens, that are read with a cache as well: the last of the answers has the
        `probabilities` [B, V] of the token after each.
      measured: batch sizes at which an answer is measured, in processor seconds.
      sized: whether the report says which batch sizes give equal bytes.
      seconds: how long the process may take; its memory is limited too.

    Returns:
      The report of `isolated.py`, and the answers to each of `inputs` and `whole`; no answers where
      it failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        by_onnx = program.rpartition("/")[2] == "onnx"
        packages = ONNX_PACKAGES if by_onnx else PACKAGES
        packages = (*packages, "tokenizers") if texts else packages
        _link_packages(Path(scratch) / "packages", packages)
        (Path(scratch) / "packages/serving").symlink_to(Path(loader.__file__).parent)
        jobs: list[dict[str, Any]] = []
        for i, batch in enumerate([*inputs, *whole]):
            files: dict[str, str] = {}
            for name, array in batch.items():
                files[name] = f"{scratch}/in-{i}-{len(files)}.npy"
                np.save(files[name], array)
            outputs, in_full = f"{scratch}/out-{i}.npz", i >= len(inputs)
            jobs.append({"inputs": files, "outputs": outputs, "whole": in_full})
        if rows:
            jobs.append({"rows": rows, "outputs": f"{scratch}/read.npz"})
        request = {
            "absent": (*ABSENT, "jax") if by_onnx else ABSENT,
            "bundle": str(folder.resolve()),
            "id": identity,
            "jobs": jobs,
            "measured": list(measured),
            "memory": (memory := _find_memory(folder)),
            "program": program,
            "sized": sized,
            "packages": f"{scratch}/packages",
            "texts": texts,
        }
        # An environment of its own: nothing of the caller's, secrets least of all, gets in there.
        kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
        environment = {k: os.environ[k] for k in kept if k in os.environ}
        try:
            ran = subprocess.run(
                [sys.executable, "-I", "-S", "-B", isolated.__file__],
                input=json.dumps(request),
                env={**environment, "JAX_PLATFORMS": "cpu", "HOME": scratch},
                cwd=scratch,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
            report = json.loads(ran.stdout) if ran.returncode == 0 else None
        except subprocess.TimeoutExpired:
            ran, report = None, None
        if report is None:  # it has proved nothing
            said = f"took over {seconds:g} s" if ran is None else _say_end(ran.returncode, memory)
            last = (ran.stderr.strip().splitlines() if ran else []) or [""]
            violations = [f"{said}: {last[-1]}"]
            nothing: dict[str, Any] = {
                "importable": [],
                "error": None,
                "exact_sizes": [],
                "seconds": {},
            }
            return {**nothing, "violations": violations}, []
        if report["error"]:
            return report, []
        answers = []
        for job in jobs:
            with np.load(job["outputs"], allow_pickle=False) as arrays:
                answers.append({name: arrays[name] for name in arrays.files})
        return report, answers


def _find_memory(folder: Path) -> int:
    """Returns how many bytes a bundle's process may use."""
    weights = folder / loader.WEIGHTS
    size = weights.lstat().st_size if os.path.lexists(weights) else 0
    return MEMORY + MEMORY_OF_WEIGHTS * size


def _say_end(code: int, memory: int) -> str:
    """Says how the process ended, and what it may use if it was ended by force."""
    if code >= 0:
        return f"ended {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}; it may use {memory / (1 << 30):.1f} GiB of memory"


def _link_packages(folder: Path, packages: Sequence[str] = PACKAGES) -> None:
    """Fills `folder` with links to `packages`, and to the libraries that wheels put beside them."""
    from importlib.util import find_spec

    folder.mkdir()
    for name in packages:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            cure = format_install(name)
            raise WorkError(f"a bundle's process needs the package {name!r}: {cure}")
        package = Path(spec.origin).parent
        (folder / name).symlink_to(package)
        for libraries in package.parent.glob("*.libs"):
            if not (folder / libraries.name).exists():
                (folder / libraries.name).symlink_to(libraries)
