"""What a run's bits depend on beside its config, seed and data, and what of that is other here."""

from collections.abc import Mapping, Sequence
from typing import Any

SOFTWARE = ("jax", "jaxlib", "flax", "optax", "numpy", "ml_dtypes", "ml-dtypes")
"""Packages whose version can change bits; so can those whose names begin with `jax` or `nvidia`."""
BY_VALUE = {"python": "Python", "visible_cpus": "CPUs", "processor": "processor", "host": "machine"}


def list_changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists what of two provenances differs and can change bits, a phrase each.

    The name of the machine stands for its processor in records that do not say that.
    """
    changes = []
    names = dict(BY_VALUE)
    names.pop("host" if was.get("processor") else "processor")
    for key, name in names.items():
        if was.get(key) != now.get(key):
            changes.append(f"{name} {was.get(key)} -> {now.get(key)}")
    for key in ("devices", "variables"):
        if (was.get(key) or {}) != (now.get(key) or {}):
            changes.append(f"{key} {was.get(key)} -> {now.get(key)}")
    old, new = _software(was), _software(now)
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            changes.append(f"{name} {old.get(name)} -> {new.get(name)}")
    if any(was.get(key) != now.get(key) for key in ("code", "harness_code")):
        changes.append("the code is another")
    return changes


def changes_of_span(
    starts: Sequence[Mapping[str, Any]], start: int, end: int, now: Mapping[str, Any]
) -> list[str]:
    """Lists what differs from here in those starts of a run that computed a part of a span."""
    begun = [s for s in starts if s["step"] < end]
    used = [s for i, s in enumerate(begun) if i + 1 == len(begun) or begun[i + 1]["step"] > start]
    return list(dict.fromkeys(change for s in used for change in list_changes(s, now)))


def _software(provenance: Mapping[str, Any]) -> dict[str, str]:
    packages = provenance.get("packages") or {}
    return {
        name: version
        for name, version in packages.items()
        if name in SOFTWARE or name.startswith(("jax", "nvidia"))
    }
