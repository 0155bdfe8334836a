"""What two runs are compared by."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.training.checkpoints import Checkpoints

NUMBERS = ("train/loss", "train/grad_norm", "valid/loss")
"""What must not depend on placement: with Adam, losses alone hide a wrong scale of a gradient."""


def read_rows(workdir: Path) -> list[dict[str, Any]]:
    """Reads what a record holds of each step."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def read_leaves(workdir: Path, step: int, prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the leaves of a checkpoint under `prefix`, by name."""
    return Checkpoints(str(workdir)).arrays(step, prefix)


def difference(a: Path, b: Path, names: tuple[str, ...]) -> dict[str, float]:
    """Computes the largest relative difference of two runs in each of the named metrics."""
    largest = dict.fromkeys(names, 0.0)
    for x, y in zip(read_rows(a), read_rows(b), strict=True):
        if x["step"] != y["step"] or x.keys() != y.keys():
            raise ValueError(f"rows of {a} and {b} differ: {x} against {y}")
        for name in names:
            if name in x:
                scale = max(abs(x[name]), abs(y[name]), 1e-300)
                largest[name] = max(largest[name], abs(x[name] - y[name]) / scale)
    return largest


def largest_difference(a: Path, b: Path) -> float:
    """Computes the largest relative difference of two records' losses, accuracies and norms.

    Their rows and names must be the same.
    """
    endings = ("loss", "grad_norm", "accuracy")
    names = {name for row in read_rows(a) for name in row if name.endswith(endings)}
    return max(difference(a, b, tuple(names)).values(), default=0.0)


def assert_same_leaves(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    """Asserts that the leaves of two checkpoints are the same to the byte."""
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


def assert_same_run(a: Path, b: Path, step: int) -> None:
    """Asserts that two runs measured the same and ended at `step` with the same bytes."""
    assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()
    assert_same_leaves(read_leaves(a, step), read_leaves(b, step))
    results = [json.loads((w / "results.json").read_text()) for w in (a, b)]
    assert results[0] == results[1]
