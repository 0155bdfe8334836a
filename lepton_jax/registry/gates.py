"""What a bundle must be before an alias may point to it: verified, unchanged, good enough.

Imports: the standard library and the loader, which reads the manifest.
"""

import json
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax.errors import UserError
from lepton_jax.serving import loader

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_CONDITION = re.compile(r"^\s*([\w./@\-]+)\s*(>=|<=|>|<)\s*([-+\w.]+)\s*$")


@dataclass(frozen=True)
class Refusal:
    """Why not: `kind` is 'unverified', 'changed', 'metric missing' or 'below the gate'."""

    kind: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}; {self.cure}"


@dataclass(frozen=True)
class Condition:
    """`test/accuracy >= 0.98`."""

    metric: str
    compare: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{self.compare}{self.bound!r}"


def parse_condition(text: str) -> Condition:
    """Reads `'test/accuracy>=0.98'`.

    Raises:
      UserError: when it is not a metric, a comparison and a number.
    """
    match = _CONDITION.match(text)
    try:
        if match is None:
            raise ValueError
        bound = float(match[3])
        if bound != bound:
            raise ValueError
    except ValueError:
        raise UserError(
            f"gate {text!r}: expected METRIC, one of {' '.join(_COMPARE)}, and a number, "
            "e.g. 'test/accuracy>=0.98'"
        ) from None
    return Condition(match[1], match[2], bound)


def check_verified(folder: Path) -> Refusal | None:
    """Whether the bundle in `folder` is the one that was verified; None if it is."""
    cure = f"run: python launch.py verify --bundle={folder}"
    try:
        identity = loader.bundle_id(folder)
    except loader.BundleError as e:
        return Refusal("changed", str(e), "export it again")
    try:
        verdict = json.loads((folder / loader.VERDICT).read_bytes())
        judged, ok = verdict["id"], verdict["ok"]
        failed = [c["name"] for c in verdict["checks"] if c["ok"] is False]
    except FileNotFoundError:
        return Refusal("unverified", f"{identity} has no verdict", cure)
    except (OSError, ValueError, KeyError, TypeError) as e:
        return Refusal("unverified", f"its verdict cannot be read ({type(e).__name__})", cure)
    if judged != identity:
        return Refusal("changed", f"the verdict is of {judged}, but this is {identity}", cure)
    if found := loader.find_faults(folder):
        return Refusal("changed", f"since it was verified: {'; '.join(found)}", "export it again")
    if ok is not True or failed:
        return Refusal("unverified", f"verification failed ({', '.join(failed)})", cure)
    return None


def unmet_conditions(gate: Iterable[Condition], metrics: Mapping[str, float]) -> list[Refusal]:
    """The conditions of `gate` that `metrics` ({'test/accuracy': 0.98}) do not meet."""
    found = []
    for c in gate:
        value = metrics.get(c.metric)
        if value is None:
            there = ", ".join(sorted(metrics)) or "none"
            what = f"the gate asks for {c}, but the bundle states no {c.metric!r} (it has: {there})"
            cure = "run: python launch.py evaluate --workdir=DIR, and export again"
            found.append(Refusal("metric missing", what, cure))
        elif not _COMPARE[c.compare](value, c.bound):
            what = f"{c.metric} is {value:.6g}, must be {c.compare} {c.bound:g}"
            found.append(Refusal("below the gate", what, "train a better model"))
    return found


def read_metrics(folder: Path) -> dict[str, float]:
    """The numbers of a bundle's metrics.json as `{'test/accuracy': 0.98}`."""
    return {k: float(v) for k, v in flatten(json.loads((folder / "metrics.json").read_bytes()))}


def flatten(tree: Any, prefix: str = "") -> list[tuple[str, float]]:
    """`{'test': {'accuracy': 0.98}}` -> `[('test/accuracy', 0.98)]`; only numbers are kept."""
    if isinstance(tree, Mapping):
        return [leaf for k, v in tree.items() for leaf in flatten(v, f"{prefix}/{k}".lstrip("/"))]
    number = isinstance(tree, int | float) and not isinstance(tree, bool)
    return [(prefix, tree)] if number else []
