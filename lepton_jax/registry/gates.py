"""What a bundle must be before an alias may point to it: verified, unchanged, good enough."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lepton_jax.console import format_command
from lepton_jax.errors import UserError, list_names
from lepton_jax.serving import loader
from lepton_jax.tracking.conditions import COMPARISONS, split_condition
from lepton_jax.trees import flatten_dict

BOUNDS = (">=", "<=", ">", "<")
"""The comparisons that a gate may ask for: numbers that were measured are not told by equality."""


@dataclass(frozen=True)
class Refusal:
    """Why a bundle is refused, and what helps."""

    kind: str
    """'unverified', 'changed', 'metric missing' or 'below the gate'."""
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}; {self.cure}"


@dataclass(frozen=True)
class Condition:
    """A bound on a metric: `test/accuracy >= 0.98`."""

    metric: str
    compare: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{self.compare}{self.bound!r}"


def parse_condition(text: str) -> Condition:
    """Parses `'test/accuracy>=0.98'`.

    Raises:
      UserError: when it is not a metric, a comparison and a number.
    """
    try:
        metric, sign, value = split_condition(text, BOUNDS)
        bound = float(value)
        if bound != bound:
            raise ValueError("NaN is no bound")
    except ValueError:
        raise UserError(
            f"gate {text!r}: expected METRIC, one of {' '.join(BOUNDS)}, and a number, "
            "e.g. 'test/accuracy>=0.98'"
        ) from None
    return Condition(metric, sign, bound)


def bundle_folder(bundle: str) -> Path:
    """Returns the folder of `--bundle`. Raises `UserError` when there is none."""
    if not os.path.isdir(bundle):
        raise UserError(f"--bundle={bundle}: there is no such folder")
    return Path(bundle)


def check_verified(folder: Path) -> Refusal | None:
    """Checks that a bundle is the one that was verified. Returns None if it is, or why not."""
    cure = f"run: {format_command('verify', bundle=folder)}"
    try:
        identity = loader.bundle_id(folder)
    except loader.BundleError as e:
        return Refusal("changed", str(e), "export it again")
    try:
        if not os.path.lexists(folder / loader.VERDICT):
            return Refusal("unverified", f"{identity} has no verdict", cure)
        verdict = loader.read_object(folder, loader.VERDICT)
        judged, ok = verdict["id"], verdict["ok"]
        failed = [str(c["name"]) for c in verdict["checks"] if c["ok"] is False]
    except (loader.BundleError, KeyError, TypeError) as e:
        said = str(e) if isinstance(e, loader.BundleError) else f"{type(e).__name__}: {e}"
        return Refusal("unverified", f"its verdict cannot be read ({said})", cure)
    if judged != identity:
        return Refusal("changed", f"the verdict is of {judged}, but this is {identity}", cure)
    if faults := loader.find_faults(folder):
        return Refusal("changed", f"since it was verified: {'; '.join(faults)}", "export it again")
    if ok is not True or failed:
        return Refusal("unverified", f"verification failed ({', '.join(failed)})", cure)
    return None


def bundle_faults(folder: Path, identity: str) -> list[str]:
    """Lists what keeps `folder` from being the bundle `identity`; [] if nothing does."""
    try:
        actual = loader.bundle_id(folder)
    except loader.BundleError as e:
        return [str(e)]
    faults = [f"it is {actual}"] if actual != identity else []
    return faults + loader.find_faults(folder)


def unmet_conditions(gate: Iterable[Condition], metrics: Mapping[str, float]) -> list[Refusal]:
    """Lists the conditions of a gate that the metrics `{'test/accuracy': 0.98}` do not meet."""
    refusals = []
    for c in gate:
        value = metrics.get(c.metric)
        if value is None:
            there = list_names(sorted(metrics)) or "none"
            what = f"the gate asks for {c}, but the bundle states no {c.metric!r} (it has: {there})"
            cure = f"run: {format_command('evaluate --workdir=DIR')}, and export again"
            refusals.append(Refusal("metric missing", what, cure))
        elif not COMPARISONS[c.compare](value, c.bound):
            what = f"{c.metric} is {value:.6g}, must be {c.compare} {c.bound:g}"
            refusals.append(Refusal("below the gate", what, "train a better model"))
    return refusals


def read_metrics(folder: Path) -> dict[str, float]:
    """Reads the numbers of a bundle's metrics.json as `{'test/accuracy': 0.98}`."""
    results = flatten_dict(loader.read_object(folder, "metrics.json"), "/")
    return {
        name: float(value)
        for name, value in results.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
