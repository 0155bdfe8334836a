"""Where a run's arrays lie and its step runs: a mesh of devices, and what is sharded over it.

The step is pure and blind to all this. `strategies.py` makes placements by name; the same code
serves one process with one device and many processes with many devices each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lepton_jax.errors import UserError, Way, did_you_mean
from lepton_jax.nn.collectives import BATCH_AXES
from lepton_jax.placement.rules import AXES, Rules, Specs, partition_specs, shard_also_over

IN_FLIGHT = 16
"""Calls dispatched and not awaited. With several devices on one CPU, more of them deadlock."""


class BatchPlacement(Protocol):
    """Where batches go and where functions of (state, batch) run.

    `Placement` is one for the state of a run, and ablation has one for the stacked states of
    several runs.
    """

    def as_json(self) -> dict[str, Any]:
        """Returns what a record says of it: whatever of it can change the order of sums."""
        ...

    def rows(self, batch_size: int) -> np.ndarray:
        """Returns the positions in a batch, int [b], that this process has to bring."""
        ...

    def put_rows(self, tree: Any, rows: np.ndarray, batch_size: int) -> Any:
        """Puts fields `[b, ...]`, which are these rows of a batch, on the devices, `[B, ...]`."""
        ...

    def compile_sums(self, function: Callable[..., Any]) -> Any:
        """Compiles a function of (state, batch) that adds up over the whole batch."""
        ...


@dataclass(frozen=True, eq=False)
class Placement:
    """A mesh whose axes are among data, fsdp and tensor."""

    name: str
    mesh: Mesh
    manual: bool = False
    """Whether the step sees one device's shard of the batch, and reduces by itself."""
    spread_moments: bool = False
    """Whether optimizer state and averages are sharded over `data` too (ZeRO-1)."""

    def __post_init__(self) -> None:
        for axis, kind in zip(self.mesh.axis_names, self.mesh.axis_types, strict=True):
            if axis not in AXES:
                near = did_you_mean(axis, AXES)
                raise UserError(
                    f"strategy {self.name}: a mesh axis is called {axis!r}{near}; expected "
                    + ", ".join(AXES)
                )
            if kind != AxisType.Auto:
                raise UserError(
                    f"strategy {self.name}: mesh axis {axis!r} is {kind.name}; expected Auto "
                    "(axis_types=(jax.sharding.AxisType.Auto,) * axes)"
                )
        if self.spread_moments and self.manual:
            raise UserError(
                f"strategy {self.name}: with manual=True each device holds the whole state, but "
                "spread_moments shards the optimizer state; expected manual=False"
            )

    def as_json(self) -> dict[str, Any]:
        """Returns as `BatchPlacement.as_json`."""
        devices = list(self.mesh.devices.flat)
        spread = {"spread_moments": True} if self.spread_moments else {}
        return {
            "strategy": self.name,
            "axes": dict(self.mesh.shape),
            "devices": len(devices),
            "kind": devices[0].device_kind,
            "processes": len({device.process_index for device in devices}),
            **spread,
        }

    @cached_property
    def batch_axes(self) -> tuple[str, ...]:
        return tuple(a for a in self.mesh.axis_names if a in BATCH_AXES)

    @cached_property
    def shards(self) -> int:
        """The number of shards that a batch is split into."""
        return int(np.prod([self.mesh.shape[a] for a in self.batch_axes]))

    @cached_property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, P())

    @cached_property
    def batch(self) -> NamedSharding:
        """The sharding of the fields of a batch, `[B, ...]`."""
        return NamedSharding(self.mesh, P(self.batch_axes))

    def check(self, batch_size: int, accumulate: int) -> None:
        """Checks that a batch splits evenly. Raises `UserError` with sizes that do otherwise."""
        parts = self.shards * accumulate
        if batch_size % parts == 0:
            return
        below, above = batch_size // parts * parts, -(-batch_size // parts) * parts
        near = f"{below}, {above}" if below else str(above)
        fits = below if 2 * batch_size <= below + above and below else above
        times = f" in {accumulate} accumulated parts" if accumulate > 1 else ""
        raise UserError(
            f"batch_size = {batch_size} does not divide over {self.shards} devices{times} "
            f"(strategy {self.name}). Nearest that do: {near}",
            ways=[Way(f"with {fits} examples a step", {"config.batch_size": str(fits)})],
        )

    def rows(self, batch_size: int) -> np.ndarray:
        """Returns the positions in a batch, int [b], that devices of this process hold."""
        slices = self.batch.addressable_devices_indices_map((batch_size,)).values()
        return np.unique(np.concatenate([np.arange(batch_size)[s] for s in slices if s]))

    @cached_property
    def spreads_state(self) -> bool:
        """Whether parameters are sharded: whether an axis other than `data` has several devices."""
        return not self.manual and any(
            size > 1 for axis, size in self.mesh.shape.items() if axis != "data"
        )

    def specs(self, params: Mapping[str, Any], rules: Rules) -> Specs:
        """Returns the spec of each parameter by name, from the model's sharding rules.

        Raises:
          UserError: when the rules do not fit the mesh (`rules.partition_specs`), or the strategy
            shards parameters and the model has no rules.
        """
        if self.spreads_state and not rules:
            raise UserError(
                f"strategy {self.name} shards parameters over {dict(self.mesh.shape)}, and the "
                "model declares no sharding rules (a class attribute `sharding`)"
            )
        specs = partition_specs(params, rules, self.mesh)  # which checks the rules, used or not
        return specs if self.spreads_state else dict.fromkeys(params, P())

    def state(
        self, state: Any, params: Mapping[str, Any], specs: Specs, beside: tuple[str, ...]
    ) -> Any:
        """Returns the shardings of a state, given the specs of its parameters.

        A leaf of the optimizer state or of an average has a parameter's name at the end of its
        own name, and is sharded as the parameter is. `beside`: how the names of such leaves begin.
        """

        def sharding(path: Any, leaf: Any) -> NamedSharding:
            path_name = name = jax.tree_util.keystr(path, simple=True, separator=".")
            while name:
                if name in specs and leaf.shape == params[name].shape:
                    spec = specs[name]
                    if self.spread_moments and path_name.startswith(beside):
                        spec = shard_also_over("data", spec, leaf.shape, self.mesh)
                    return NamedSharding(self.mesh, spec)
                name = name.partition(".")[2]
            return self.replicated

        return jax.tree_util.tree_map_with_path(sharding, state)

    def put(self, tree: Any, sharding: NamedSharding) -> Any:
        """Puts host arrays on the devices; each process sends the shards of its own devices.

        Every process must have the whole of each array; `put_rows` is for one that has a share.
        """

        def put_array(x: Any) -> jax.Array:
            x = np.asarray(x)
            return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

        with jax.transfer_guard("allow"):
            return jax.tree.map(put_array, tree)

    def put_rows(self, tree: Any, rows: np.ndarray, batch_size: int) -> Any:
        """Puts fields `[b, ...]`, which are these rows of a batch, on the devices as `[B, ...]`."""

        def put_field(x: np.ndarray) -> jax.Array:
            def shard(index: Any) -> np.ndarray:
                wanted = np.arange(batch_size)[index[0]]
                start = int(np.searchsorted(rows, wanted[0]))
                return x[start : start + len(wanted)]

            return jax.make_array_from_callback((batch_size, *x.shape[1:]), self.batch, shard)

        with jax.transfer_guard("allow"):
            return jax.tree.map(put_field, tree)

    def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `function`, traced with the mesh set, for `nn.collectives.shard_by_batch`."""

        def with_mesh(*args: Any) -> Any:
            with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
                return function(*args)

        with_mesh.__name__ = getattr(function, "__name__", "function")
        return with_mesh

    def compile_step(
        self, step: Callable[..., Any], state: Any, inputs: Any, *, donate: bool = True
    ) -> Any:
        """Compiles `step(state, sums, *inputs) -> (state, sums)`.

        Main arguments:
          state: the shardings of the state.
          inputs: a tuple of prefix trees of `PartitionSpec`, one for each of the further arguments.
          donate: whether the state that a step is given may not be used afterwards.
        """
        if self.manual:
            on_mesh = jax.shard_map(
                step,
                mesh=self.mesh,
                in_specs=(P(), P(), *inputs),
                out_specs=P(),
                # With it, gradients by replicated parameters are summed a second time.
                check_vma=False,
            )
            on_mesh.__name__ = step.__name__
        else:
            on_mesh = self.traced(step)
        donated = (0,) if donate else ()
        return jax.jit(on_mesh, donate_argnums=donated, out_shardings=(state, self.replicated))

    def compile_sums(self, function: Callable[..., Any]) -> Any:
        """Compiles a function of (state, batch) that adds up over the whole batch."""
        return jax.jit(self.traced(function), out_shardings=self.replicated)
