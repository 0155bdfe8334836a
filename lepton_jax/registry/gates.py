"""What a bundle must be before an alias points to it: verified, unchanged, good enough, signed."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lepton_jax.console import format_command
from lepton_jax.errors import UserError, did_you_mean, list_names
from lepton_jax.nearest import find_nearest
from lepton_jax.serving import loader
from lepton_jax.signing.signer import REFUSED, find_signer
from lepton_jax.tracking.conditions import COMPARISONS, mend_condition, split_condition
from lepton_jax.trees import flatten_dict

BOUNDS = (">=", "<=", ">", "<")
"""The comparisons that a gate may ask for: numbers that were measured are not told by equality."""

SIGNED = "signed"
"""The condition that a key which is trusted here has signed the bundle."""


@dataclass(frozen=True)
class Refusal:
    """Why a bundle is refused, and what helps."""

    kind: str
    """'unverified', 'changed', 'signature', 'metric missing' or 'below the gate'."""
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


def parse_condition(text: str) -> Condition | None:
    """Parses `'test/accuracy>=0.98'`; returns None for `'signed'`, which bounds no metric.

    Raises:
      UserError: when it is neither that nor a metric, a comparison and a number.
    """
    if text.strip() == SIGNED:
        return None
    try:
        metric, sign, value = split_condition(text, BOUNDS)
        bound = float(value)
        if bound != bound:
            raise ValueError("NaN is no bound")
    except ValueError:
        meant = find_nearest(text, [SIGNED]) or mend_condition(text, BOUNDS)
        raise UserError(
            f"gate {text!r}{did_you_mean(text, [SIGNED])}: expected METRIC, one of "
            f"{' '.join(BOUNDS)}, and a number; such as 'test/accuracy>=0.98', or '{SIGNED}'",
            instead=(text, meant) if meant not in ("", text) else None,
        ) from None
    return Condition(metric, sign, bound)


def check_verified(folder: Path, bundle: str = "") -> Refusal | None:
    """Checks that a bundle is the one that was verified. Returns None if it is, or why not.

    Its signature is checked first; where it has none, nothing is missing.

    Args:
      bundle: what the user calls the bundle, where it is not the folder.
    """
    if refusal := check_signed(folder, bundle, demanded=False):
        return refusal
    cure = f"run: {format_command('verify', bundle=bundle or folder)}"
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


def check_signed(folder: Path, bundle: str = "", *, demanded: bool = True) -> Refusal | None:
    """Checks that a key which is trusted here has signed a bundle. Returns None, or why not.

    Args:
      bundle: what the user calls the bundle, where it is not the folder.
      demanded: False also accepts a bundle without a signature, and one of an unknown key.
    """
    signer = find_signer(folder)
    if signer.state == "trusted" or (not demanded and signer.state not in REFUSED):
        return None
    said = f"it is signed {signer}" if signer.key else str(signer)
    return Refusal("signature", said, signer.cure(bundle or folder))


def bundle_faults(folder: Path, identity: str) -> list[str]:
    """Lists what keeps `folder` from being the bundle `identity`; [] if nothing does."""
    try:
        actual = loader.bundle_id(folder)
    except loader.BundleError as e:
        return [str(e)]
    faults = [f"it is {actual}"] if actual != identity else []
    return faults + loader.find_faults(folder)


def find_unmet(gate: Iterable[str], folder: Path) -> list[Refusal]:
    """Lists the conditions of a gate, `['test/accuracy>=0.98', 'signed']`, that a bundle misses."""
    conditions = [parse_condition(text) for text in gate]
    signed = [check_signed(folder)] if None in conditions else []
    bounds = [c for c in conditions if c]
    return [r for r in signed if r] + unmet_conditions(bounds, read_metrics(folder))


def unmet_conditions(bounds: Iterable[Condition], metrics: Mapping[str, float]) -> list[Refusal]:
    """Lists the bounds of a gate that the metrics `{'test/accuracy': 0.98}` do not meet."""
    refusals = []
    for c in bounds:
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
