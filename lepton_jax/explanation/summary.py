"""What a terminal and a program are told of explanations: tables, faults, plain values."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lepton_jax.explanation.explained import ExplainedInputs
from lepton_jax.explanation.faithfulness import RANDOM, Checks, Faithfulness

HEADS = (
    "method", "deletion", "insertion", "orders beaten", "shuffled", "infidelity", "sensitivity",
    "missing", "agreement", "verdict",
)  # fmt: skip


def check_rows(checks: Checks) -> list[tuple[str, ...]]:
    """Returns the lines of a table: its heads, a row a method, and the random order."""
    rows = [HEADS, *(_row(checks, name) for name in checks.methods)]
    areas = (f"{np.mean(curve):.3f}" for curve in (checks.random_deletion, checks.random_insertion))
    return [*rows, ("a random order", *areas, *[""] * 7)]


def _row(checks: Checks, name: str) -> tuple[str, ...]:
    found = checks.methods[name]
    return (
        name,
        f"{found.deletion_area:.3f}",
        f"{found.insertion_area:.3f}",
        f"{found.beaten} of {RANDOM}",
        _number(found.alike, ".2f"),
        _number(found.infidelity, ".2f")
        + (f" < {found.equal_credit:.2f}" if found.infidelity is not None else ""),
        _number(found.sensitivity, ".2f"),
        _number(found.missing, ".2%"),
        _number(checks.agreement_of(name), ".2f"),
        "FAILS" if found.faults else "ok",
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def describe_faults(checks: Checks) -> Iterator[tuple[str, list[str]]]:
    """Yields each method that fails, with what is wrong with it."""
    for name, found in checks.methods.items():
        if found.faults:
            yield name, found.faults


def explanation_json(found: ExplainedInputs) -> dict[str, Any]:
    """Returns explanations as plain values: what each part of each input is worth to each method.

    The parts of a text are its tokens; those of an image squares of pixels, row by row.
    """
    values = {name: found.parts.sum_parts(maps) for name, maps in found.maps.items()}
    checks = found.checks
    return {
        "source": found.source,
        "parts": {"grid": list(found.parts.grid), "shape": list(found.parts.shape)},
        "inputs": [
            {
                "input": name,
                "label": found.labels[i],
                "probability": found.probabilities[i],
                "truth": found.truths[i] or None,
                "tokens": list(found.words[i]) if found.words else None,
                "parts": {
                    method: _significant(rows[i][: len(found.words[i])] if found.words else rows[i])
                    for method, rows in values.items()
                },
            }
            for i, name in enumerate(found.names)
        ],
        "checked": checks.inputs,
        "methods": {name: _checks_json(x) for name, x in checks.methods.items()},
        "random": {"deletion": checks.random_deletion, "insertion": checks.random_insertion},
        "agreement": [
            {"methods": list(pair), "rank_correlation": x} for pair, x in checks.agreement.items()
        ],
    }


def _checks_json(found: Faithfulness) -> dict[str, Any]:
    return {
        **vars(found),
        "deletion_area": found.deletion_area,
        "insertion_area": found.insertion_area,
        "faults": found.faults,
    }


def _significant(values: np.ndarray) -> list[float]:
    """Rounds to six digits: more are noise of the arithmetic."""
    return [float(f"{x:.6g}") for x in values]
