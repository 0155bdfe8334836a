"""The points of a heat map, or of another plot of the keys that an experiment varied."""

import math
from typing import Any, Literal

from lepton_jax.ablation.analysis.outcomes import Results
from lepton_jax.ablation.question.experiment import format_value
from lepton_jax.io.files import replace_non_finite
from lepton_jax.tables import is_number

MOST_CELLS = 14
"""Values of a key up to which a heat map has a row for each."""


def heat_map_data(results: Results) -> dict[str, Any] | None:
    """Returns `{kind, keys, points}`, or None where no key varies.

    `points` holds one entry a trial: its values of the keys, and its metric on `valid`, or None.
    `kind` is 'grid' (two numbers, most combinations tried), 'scatter' (two numbers, drawn at
    random), or 'strips' (a plot for each key).
    """
    keys = _varied_keys(results)
    if not keys:
        return None
    points: list[dict[str, Any]] = [
        {
            "at": [_plain(o.changes[k][1] if k in o.changes else base) for k, base in keys.items()],
            "valid": replace_non_finite(o.valid, by="null"),
            "name": f"{o.variant}, {o.repeat}",
        }
        for o in results.outcomes
    ]
    columns = [[p["at"][i] for p in points] for i in range(len(keys))]
    described = [
        {"key": key, "numeric": all(map(is_number, c)), "log": _needs_log(c)}
        for key, c in zip(keys, columns, strict=True)
    ]
    kind: Literal["grid", "scatter", "strips"] = "strips"
    if len(keys) == 2 and all(d["numeric"] for d in described):
        sizes = [len(set(c)) for c in columns]
        tried = len(set(zip(*columns, strict=True))) / (sizes[0] * sizes[1])
        kind = "grid" if max(sizes) <= MOST_CELLS and tried >= 0.5 else "scatter"
    return {"kind": kind, "keys": described, "points": points}


def _varied_keys(results: Results) -> dict[str, Any]:
    """Returns `{key: the baseline's value}` of the keys that some trial changes."""
    keys: dict[str, Any] = {}
    for o in results.outcomes:
        for key, (base, _) in o.changes.items():
            keys.setdefault(key, base)
    return keys


def _needs_log(values: list[Any]) -> bool:
    """Tells whether values span so much that only their logarithm shows them."""
    if not all(is_number(v) and v > 0 for v in values):
        return False
    return max(values) / min(values) >= 20


def _plain(value: Any) -> Any:
    return value if is_number(value) and math.isfinite(value) else format_value(value)
