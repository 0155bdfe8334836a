"""Lanes: trials of one program that take their steps at once, as a population under `jax.vmap`.

Every array of a state has a leading lane axis `[L, ...]`. The data are shared; each lane follows
its own order of the examples. On several devices the lanes are spread over them, and nothing
travels between them. `jax.vmap` changes the order of sums and nothing else. A single lane has no
such axis: it takes the very step that the trial takes alone, and computes the same bits.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lepton_jax.config.config import Config
from lepton_jax.config.trialable import hyper_of
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns
from lepton_jax.training import feed
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.program import Program
from lepton_jax.training.state import Totals

AXIS = "lane"


class LanePlacement:
    """Lanes on devices, `width` on each. A `BatchPlacement`, so evaluations run on all lanes."""

    def __init__(self, devices: Sequence[Any], width: int):
        self.width = width
        self.lanes = width * len(devices)
        self.mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self.replicated = NamedSharding(self.mesh, P())
        self.spread = NamedSharding(self.mesh, P(AXIS)) if self.lanes > 1 else self.replicated

    def as_json(self) -> dict[str, Any]:
        """Returns what a trial's record says of it. A single lane is placed as a run alone."""
        return {
            "strategy": "jit",
            "axes": {AXIS: self.lanes} if self.lanes > 1 else {"data": 1},
            "devices": self.mesh.size,
            "kind": self.mesh.devices.flat[0].device_kind,
            "processes": 1,
        }

    def send(self, tree: Any) -> Any:
        """Sends host arrays `[L, ...]` to the devices that hold the lanes."""
        if self.lanes == 1:
            tree = jax.tree.map(lambda x: x[0], tree)
        return jax.device_put(tree, self.spread)

    def by_lane(self, tree: Any) -> Any:
        """Fetches arrays of lanes as host arrays `[L, ...]`."""
        tree = jax.device_get(tree)
        return jax.tree.map(lambda x: np.asarray(x)[None], tree) if self.lanes == 1 else tree

    def share(self, tree: Any) -> Any:
        """Sends host arrays that all lanes share to every device."""
        return jax.device_put(tree, self.replicated)

    def rows(self, batch_size: int) -> np.ndarray:
        """Returns all positions of a batch: every lane sees the whole of it."""
        return np.arange(batch_size)

    def put_rows(self, tree: Any, rows: np.ndarray, batch_size: int) -> Any:
        """Sends a batch, `[B, ...]`, to every device."""
        return self.share(tree)

    def compile(
        self, function: Callable[..., Any], split: tuple[bool, ...], donate: tuple[int, ...] = ()
    ) -> Any:
        """Compiles a function of one lane into one of all lanes.

        `split` tells of each argument whether every lane has its own; the others are shared.
        """
        of_lanes = function
        if self.width > 1:
            of_lanes = jax.vmap(function, in_axes=tuple(0 if s else None for s in split))
        elif self.lanes > 1:

            def of_lanes(*args: Any) -> Any:
                of_one = [
                    jax.tree.map(lambda x: x[0], a) if s else a
                    for a, s in zip(args, split, strict=True)
                ]
                return jax.tree.map(lambda x: x[None], function(*of_one))

        if self.mesh.size > 1:
            # Left to itself the compiler gathers what no lane needs of another.
            specs = tuple(P(AXIS) if s else P() for s in split)
            of_lanes = jax.shard_map(
                of_lanes, mesh=self.mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False
            )
        return jax.jit(of_lanes, donate_argnums=donate, out_shardings=self.spread)

    def compile_sums(self, function: Callable[..., Any]) -> Any:
        """Compiles a function of (state, batch): each lane has its state, all share the batch."""
        return self.compile(function, (True, False))


def can_be_lanes(built: BuiltRun) -> bool:
    """Tells whether trials of a built run may be lanes: its data fit on a device, its strategy is
    jit.
    """
    jit = built.program.config.strategy.name == "jit"
    return jit and feed.fits_on_device(built.program, built.data)


class Lanes:
    """A program compiled for several trials at once. Each call says for which trials."""

    def __init__(self, program: Program, train: Columns, devices: Sequence[Any], width: int):
        self._program = program
        self._placement = LanePlacement(devices, width)
        self._train = train

    @property
    def program(self) -> Program:
        """The program of one lane."""
        return self._program

    @property
    def placement(self) -> LanePlacement:
        """Where the lanes lie."""
        return self._placement

    @property
    def count(self) -> int:
        """The number of lanes, on all devices together."""
        return self.placement.lanes

    def fresh(self, configs: Sequence[Config]) -> dict[str, Any]:
        """Makes the states of lanes with these configs before the first step, and empty sums."""
        hypers = [hyper_of(c) for c in configs]
        dtype = jax.tree.leaves(self.program.training.hyper())[0].dtype
        hyper = jax.tree.map(lambda *xs: np.asarray(xs, dtype), *hypers)
        seeds = np.asarray([c.seed for c in configs], np.uint32)
        state = self._init(*self.placement.send((seeds, hyper)))
        return {"state": state, "sums": self.empty_sums()}

    def empty_sums(self) -> Totals:
        """Makes the sums of an interval without a step."""
        return self.stack([jax.device_get(self.program.training.empty_sums())] * self.count)

    def stack(self, trees: Sequence[Any]) -> Any:
        """Stacks trees of host arrays, one a lane, to one tree on the devices."""
        return self.placement.send(jax.tree.map(lambda *xs: np.stack(xs), *trees))

    @property
    def like(self) -> dict[str, Any]:
        """Shapes, dtypes and shardings of the lanes' states and sums, as a checkpoint has them."""
        one = {
            "state": self.program.training.abstract_state(),
            "sums": jax.eval_shape(self.program.training.empty_sums),
        }
        lanes = (self.count,) if self.count > 1 else ()
        sharding = self.placement.spread
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((*lanes, *x.shape), x.dtype, sharding=sharding), one
        )

    def feed(self, configs: Sequence[Config]) -> "LaneFeed":
        """Makes the feed of lanes with these configs."""
        orders = [feed.build_order(c, self._train) for c in configs]
        return LaneFeed(self, orders)

    def select(self, chosen: np.ndarray, new: Any, old: Any) -> Any:
        """Takes each lane's tree from `new` where `chosen`, bool `[L]`, else from `old`.

        `old` is donated.
        """
        return self._select(self.placement.send(chosen), new, old)

    @cached_property
    def step(self) -> Any:
        """The compiled `(state, sums, *GatherInputs) -> (state, sums)`; its state is donated."""
        step = feed.make_gather_step(self.program)
        return self.placement.compile(step, (True, True, False, True, False, False), donate=(0,))

    @cached_property
    def columns(self) -> Any:
        """The training split, on every device."""
        columns = {name: np.asarray(column) for name, column in self._train.columns.items()}
        return self.placement.share(columns)

    @cached_property
    def _init(self) -> Any:
        return self.placement.compile(self.program.training.init, (True, True))

    @cached_property
    def _select(self) -> Any:
        def select(chosen: jax.Array, new: Any, old: Any) -> Any:
            return jax.tree.map(lambda n, o: jax.numpy.where(chosen, n, o), new, old)

        return self.placement.compile(select, (True, True, True), donate=(2,))


class LaneFeed:
    """The batches of all lanes: shared data, and an order of the examples for each lane."""

    def __init__(self, lanes: Lanes, orders: Sequence[Order]):
        placement = lanes.placement
        self._columns = lanes.columns
        positions = np.arange(orders[0].batch_size, dtype=np.int32)
        self._position = placement.share(positions)
        self._chunks = feed.ChunkedOrder(
            lambda start: np.stack([o.chunk(start, feed.CHUNK) for o in orders]), placement.send
        )
        self._markers = feed.LengthMarkers(orders[0].buckets, placement.share)
        self.step = lanes.step

    def inputs(self, k: int) -> feed.GatherInputs:
        """Returns what step k takes beside state and sums."""
        index, chunk = self._chunks.at(k)
        # All lanes come to the same length, but for batches that go across epochs.
        marker = self._markers.marker(index)
        return feed.GatherInputs(self._columns, chunk, self._position, marker)

    def close(self) -> None:
        """Does nothing: there is nothing to end."""
