"""What a run's bits depend on beside its config, seed and data, and what of that is other here."""

from collections.abc import Mapping
from typing import Any

from lepton_jax.tracking.provenance import say_placement

SOFTWARE = ("flax", "optax", "numpy", "ml_dtypes")
"""Packages whose version can change bits; so can those whose names begin with `jax` or `nvidia`."""
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
BY_VALUE = {"python": "Python", "visible_cpus": "CPUs", "processor": "processor", "host": "machine"}


def list_changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists what of two provenances differs and can change bits, a phrase each.

    The name of the machine stands for its processor in records that do not say that.
    """
    names = dict(BY_VALUE)
    names.pop("host" if was.get("processor") else "processor")
    changes = [
        f"{name} {was.get(key)} -> {now.get(key)}"
        for key, name in names.items()
        if was.get(key) != now.get(key)
    ]
    devices = [_devices(was, now), _devices(now, was)]
    if devices[0] != devices[1]:
        changes.append(f"devices {devices[0]} -> {devices[1]}")
    for old, new in ((_variables(was), _variables(now)), (_software(was), _software(now))):
        changes += [
            f"{name} {old.get(name, '(none)')} -> {new.get(name, '(none)')}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
    by_digest = ("package",) if was.get("package") else ("code", "harness_code")
    if any(was.get(key) != now.get(key) for key in by_digest):
        changes.append("the code of lepton_jax is another")
    if (now.get("devices") or {}).get("platform") == "gpu" and not _is_deterministic(was):
        changes.append(f"XLA_FLAGS without {DETERMINISTIC}: a GPU may add up in another order")
    own, here = was.get("components") or {}, now.get("components") or {}
    changes += [f"{name} is another" for name in {*own, *here} if own.get(name) != here.get(name)]
    return changes


def _is_deterministic(provenance: Mapping[str, Any]) -> bool:
    flags = (provenance.get("variables") or {}).get("XLA_FLAGS", "").split()
    return bool({DETERMINISTIC, DETERMINISTIC.removesuffix("=true")} & {*flags})


def _devices(provenance: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Says which devices were used; which there were, where one of the two does not say that."""
    if provenance.get("placement") and other.get("placement"):
        return say_placement(provenance["placement"])
    devices = provenance.get("devices")
    if not devices:
        return "(unknown)"
    count, processes = devices.get("count"), devices.get("processes")
    return f"{count} x {devices.get('kind')}" + (
        f" in {processes} processes" if processes != 1 else ""
    )


def _variables(provenance: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in (provenance.get("variables") or {}).items()}


def _software(provenance: Mapping[str, Any]) -> dict[str, str]:
    packages = provenance.get("packages") or {}
    return {
        name.replace("-", "_"): version
        for name, version in packages.items()
        if name.replace("-", "_") in SOFTWARE or name.startswith(("jax", "nvidia"))
    }
