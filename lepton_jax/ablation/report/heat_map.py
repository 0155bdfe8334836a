"""What an experiment varied, as points that can be drawn: a heat map where two numbers vary."""

import math
from typing import Any, Literal

from lepton_jax.ablation.analysis.outcomes import Results
from lepton_jax.ablation.analysis.tables import is_number
from lepton_jax.ablation.question.experiment import format_value
from lepton_jax.tracking.files import replace_non_finite

MOST_CELLS = 14
"""Values of a key up to which a heat map has a row for each."""


def heat_map_data(results: Results) -> dict[str, Any] | None:
    """`{kind, keys, points}`, or None where no key varies.

    `points` has one entry a trial: its values of the keys, and its metric on `valid` (what was
    chosen by; None if it has none). `kind` is `grid` (two numbers, most combinations tried),
    `scatter` (two numbers, drawn at random), or `strips` (a plot for each key).
    """
    keys = _varied(results)
    if not keys:
        return None
    points: list[dict[str, Any]] = [
        {
            "at": [_plain(o.changes[k][1] if k in o.changes else base) for k, base in keys.items()],
            "valid": replace_non_finite(o.valid, by="null"),
            "name": f"{o.variant}, seed {o.seed}",
        }
        for o in results.outcomes
    ]
    columns = [[p["at"][i] for p in points] for i in range(len(keys))]
    described = [
        {"key": key, "numeric": all(map(is_number, c)), "log": _log(c)}
        for key, c in zip(keys, columns, strict=True)
    ]
    kind: Literal["grid", "scatter", "strips"] = "strips"
    if len(keys) == 2 and all(d["numeric"] for d in described):
        sizes = [len(set(c)) for c in columns]
        tried = len(set(zip(*columns, strict=True))) / (sizes[0] * sizes[1])
        kind = "grid" if max(sizes) <= MOST_CELLS and tried >= 0.5 else "scatter"
    return {"kind": kind, "keys": described, "points": points}


def _varied(results: Results) -> dict[str, Any]:
    """`{key: the baseline's value}` of the keys that differ somewhere."""
    found: dict[str, Any] = {}
    for o in results.outcomes:
        for key, (base, _) in o.changes.items():
            found.setdefault(key, base)
    return found


def _log(values: list[Any]) -> bool:
    """Whether a key spans so much that only its logarithm shows it."""
    if not all(is_number(v) and v > 0 for v in values):
        return False
    return max(values) / min(values) >= 20


def _plain(value: Any) -> Any:
    return value if is_number(value) and math.isfinite(value) else format_value(value)
