"""Where a program runs: its placement, and how its state lies on the devices."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from lepton_jax.config.components import resolve_component
from lepton_jax.errors import UserError
from lepton_jax.models.model import Sharded
from lepton_jax.placement import rules, strategies
from lepton_jax.placement.mesh import Placement
from lepton_jax.training import lora, optimizer
from lepton_jax.training.program import Program
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit
from lepton_jax.trees import flatten_tree


@dataclass(frozen=True, eq=False)
class Layout:
    """A program on its devices. `build_layout` and `single_device_layout` make one."""

    program: Program
    placement: Placement

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Shape and dtype of each parameter of the model and of each adapter of `lora`, by name."""
        return self._model | self._adapters

    @cached_property
    def specs(self) -> rules.Specs:
        """The `PartitionSpec` of each parameter.

        Raises:
          UserError: when the model's sharding rules do not fit the mesh.
        """
        model = resolve_component("model", self.program.config.model.name)
        sharding: Any = model.sharding if isinstance(model, Sharded) else {}
        specs = self.placement.specs(self._model, sharding)
        return specs | lora.adapter_specs(self._adapters, specs)

    @cached_property
    def state(self) -> State:
        """The sharding of each leaf of the state.

        Raises:
          UserError: when optimizer state is to be sharded and the learner does not say which it is.
        """
        beside = self.program.training.beside
        if self.placement.spread_moments and not beside:
            raise UserError(
                f"strategy.spread_moments: task {self.program.config.task.name} defines its own "
                "update and does not say which parts of its state are optimizer state: "
                "beside = ('g_opt',)"
            )
        names = tuple(f"learner.{part}." for part in beside)
        return self.placement.state(self._abstract, self.parameters, self.specs, names)

    @cached_property
    def like(self) -> dict[str, Any]:
        """What a checkpoint holds, as shapes, dtypes and shardings; it takes no memory."""
        sums = self.program.training.empty_sums
        return {
            "state": jax.tree.map(_struct, self._abstract, self.state),
            "sums": jax.tree.map(
                lambda x: _struct(x, self.placement.replicated), jax.eval_shape(sums)
            ),
        }

    def fresh(self) -> dict[str, Any]:
        """Returns a fresh `state` and empty `sums`; each leaf is computed where it lies."""
        placement, program = self.placement, self.program
        init = jax.jit(placement.traced(program.training.init), out_shardings=self.state)
        seed, hyper = np.uint32(program.config.seed), program.training.hyper()
        inputs = placement.put((seed, hyper), placement.replicated)
        return {"state": init(*inputs), "sums": self.empty_sums()}

    def empty_sums(self) -> Any:
        """Returns sums of nothing, on the devices."""
        return self.placement.put(self.program.training.empty_sums(), self.placement.replicated)

    def table(self) -> str:
        """Formats for people each parameter, its sharding, and what the state takes a device."""
        mesh, groups = self.placement.mesh, self._groups()
        parameters = rules.parameter_table(self.parameters, self.specs, mesh, groups)
        parts: Counter[str] = Counter()
        leaves = jax.tree_util.tree_leaves_with_path(self._abstract.learner)
        for (path, leaf), where in zip(leaves, jax.tree.leaves(self.state.learner), strict=True):
            part = jax.tree_util.keystr(path[:1], simple=True)
            parts[part] += math.prod(where.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        sizes = ", ".join(f"{part} {size:,}" for part, size in parts.items())
        return f"{parameters}\nstate, bytes a device: {sizes}"

    def _groups(self) -> dict[str, str]:
        """Says in which group of the optimizer each parameter is, by name.

        `{}`: the optimizer has none, or the task has a step of its own that calls it.
        """
        config, learner = self.program.config, self._abstract.learner
        if not config.optimizer.groups or not isinstance(learner, Fit):
            return {}
        trained = learner.params if config.lora else self.parameters
        base = dict.fromkeys(self.parameters, "lora, frozen") if config.lora else {}
        return base | optimizer.describe_groups(config.optimizer, trained)

    @cached_property
    def _model(self) -> dict[str, Any]:
        return flatten_tree(jax.eval_shape(self.program.training.variables, self._abstract)[0])

    @cached_property
    def _adapters(self) -> dict[str, Any]:
        if not self.program.config.lora:
            return {}
        return {n: x for n, x in self._abstract.learner.params.items() if lora.is_adapter(n)}

    @cached_property
    def _abstract(self) -> State:
        return self.program.training.abstract_state()


def build_layout(program: Program, devices: Sequence[Any] | None = None) -> Layout:
    """Places a program by its `config.strategy` on `devices`; by default on those of all processes.

    Raises:
      UserError: when the strategy does not fit the devices, the batch or the model.
    """
    config = program.config
    devices = jax.devices() if devices is None else devices
    placement = config.strategy.build(devices)
    if not isinstance(placement, Placement):
        kind = type(placement).__name__
        raise UserError(f"strategy {config.strategy.name} made a {kind}, expected a Placement")
    used = {d.process_index for d in placement.mesh.devices.flat}
    for process in {d.process_index for d in devices} - used:
        raise UserError(
            f"strategy {config.strategy.name} uses no device of process {process}; every process "
            "needs a part of the batch"
        )
    placement.check(config.batch_size, config.accumulate)
    return Layout(program, placement)


def single_device_layout(program: Program) -> Layout:
    """Places a program on one device of this process."""
    return Layout(program, strategies.jit(jax.local_devices()[:1]))


def _struct(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
