r"""Sharding rules: which mesh axes the dimensions of a parameter are sharded over.

A model declares them beside its layers, as a class attribute:

    sharding = {r"attention\.(q|k|v)\.kernel": ("fsdp", "tensor"), r"head\.kernel": ("fsdp", None)}

A pattern is a regular expression searched in the parameter's name; the first that matches counts.
Axes align to the last dimensions, so that one rule serves a layer and a stack of layers.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from lepton_jax.console import format_table
from lepton_jax.errors import UserError, did_you_mean

AXES = ("data", "fsdp", "tensor")
"""What the axes of a mesh may be called."""

Axes = tuple[str | None, ...]
Rules = Mapping[str, Axes]
Specs = dict[str, P]


def partition_specs(params: Mapping[str, Any], rules: Rules, mesh: Mesh) -> Specs:
    """Returns the `PartitionSpec` of each parameter by name; without a rule it is replicated.

    Axes that the mesh lacks, or that have one device, are left out.

    Raises:
      UserError: for a pattern that matches no parameter, and for a dimension that its axis does
        not divide.
    """
    specs, unused = {}, dict(rules)
    for name, leaf in params.items():
        pattern = next((p for p in rules if re.search(p, name)), None)
        unused.pop(pattern or "", None)
        specs[name] = _spec(name, tuple(leaf.shape), rules[pattern], mesh) if pattern else P()
    if unused:
        pattern = next(iter(unused))
        raise UserError(
            f"sharding rule {pattern!r} matches no parameter{did_you_mean(pattern, params)}; "
            f"there are: {', '.join(params)}"
        )
    return specs


def _spec(name: str, shape: tuple[int, ...], axes: Axes, mesh: Mesh) -> P:
    if len(axes) > len(shape):
        raise UserError(
            f"sharding rule of {name} {shape}: {axes} names more axes than the parameter has"
        )
    axes = (None,) * (len(shape) - len(axes)) + axes
    kept: list[str | None] = []
    for dimension, (size, axis) in enumerate(zip(shape, axes, strict=True)):
        if axis is not None and axis not in AXES:
            raise UserError(
                f"sharding rule of {name}: no axis is called {axis!r}{did_you_mean(axis, AXES)}; "
                f"there are: {', '.join(AXES)}"
            )
        devices = mesh.shape.get(axis, 1) if axis else 1
        if size % devices:
            raise UserError(
                f"parameter {name} {shape}: dimension {dimension} of {size} does not divide over "
                f"strategy.{axis} = {devices}"
            )
        kept.append(axis if devices > 1 else None)
    return P(*kept) if any(kept) else P()


def shard_also_over(axis: str, spec: P, shape: tuple[int, ...], mesh: Mesh) -> P:
    """Returns `spec` with `axis` added to the first replicated dimension that it divides."""
    devices = mesh.shape.get(axis, 1)
    axes = [*spec, *[None] * (len(shape) - len(spec))]
    for dimension, size in enumerate(shape):
        if axes[dimension] is None and size % devices == 0 and devices > 1:
            return P(*axes[:dimension], axis, *axes[dimension + 1 :])
    return spec


def parameter_table(
    params: Mapping[str, Any], specs: Specs, mesh: Mesh, groups: Mapping[str, str] | None = None
) -> str:
    """Formats the parameters of a model, a line each, and their sum: name, shape, dtype, number,
    share of the whole, how they are spread, bytes a device.

    `groups`: what a further column says of each, by name.
    """
    whole, total_bytes = sum(leaf.size for leaf in params.values()), 0
    rows = []
    for name, leaf in params.items():
        spec = specs[name]
        parts = math.prod(mesh.shape[axis] if axis else 1 for axis in spec)
        size = leaf.size * leaf.dtype.itemsize // parts
        total_bytes += size
        shape = "x".join(map(str, leaf.shape)) or "scalar"
        how = " x ".join(str(a or "-") for a in spec) if any(spec) else "replicated"
        share = f"{leaf.size / whole:.1%}"
        rows.append((name, shape, str(leaf.dtype), f"{leaf.size:,}", share, how, f"{size:,}"))
    head = ("parameter", "shape", "dtype", "number", "share", "spread over", "bytes a device")
    total = ("all", "", "", f"{whole:,}", "100.0%", "", f"{total_bytes:,}")
    table: list[tuple[str, ...]] = [head, *rows, total]
    if groups:
        column = ("group", *(groups[name] for name in params), "")
        table = [(*row, group) for row, group in zip(table, column, strict=True)]
    return "\n".join(format_table(table, right=(3, 4, 6)))
