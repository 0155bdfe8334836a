"""An abstract first step, traced before any is taken: what it adds up, and what is constant in it.

A module is split once into its structure and its variables, see `functional.py`. A `Hyper` number
in the structure would be the same in every trial that shares the program. A number that only makes
initial variables is no such constant, because variables are made anew in each trial.

So a first state is made and a step is taken in one trace, in which the model is built with traced
numbers. A number that reaches the step past the variables is in the structure.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from lepton_jax.config.config import Config
from lepton_jax.config.schema import is_off
from lepton_jax.errors import UserError, describe_value
from lepton_jax.nn.batch import Batch, training_batch
from lepton_jax.nn.rng import Noise
from lepton_jax.training.functional import Functional, array_attributes
from lepton_jax.training.learner import Learner, Tools
from lepton_jax.training.parts import Parts
from lepton_jax.training.returned import check_sums
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Supervised
from lepton_jax.trees import flatten_tree

_VARIABLES = "lepton_jax.variables"


@dataclass(frozen=True)
class AbstractStep:
    """What the trace of a first step shows."""

    state: State
    """The shapes and dtypes of the state."""
    sum_names: tuple[str, ...]
    """Names of what a step adds up, sorted."""
    constants: tuple[str, ...]
    """Names of the model's `Hyper` numbers that it keeps outside its variables."""
    model: str
    """The name of the model."""
    in_vain: tuple[str, ...]
    """Keys of the config that are set and that the step does not use."""

    def refuse_constants(self) -> None:
        """Raises `UserError` for a number of the model that trials may vary and that is constant.

        All trials of one program would compute with the first one's.
        """
        for name in self.constants:
            raise UserError(
                f"model.{name} is marked Hyper, but {self.model} keeps it as a constant, so trials "
                "that share a program would all compute with one value; keep it as "
                f"lepton_jax.nn.layers.HyperVariable(jnp.asarray({name})) and read it as "
                f"self.{name}[...]"
            )

    def refuse_unused(self) -> None:
        """Raises `UserError` for a key of the config that is set and changes nothing."""
        for key in self.in_vain:
            raise UserError(_IN_VAIN[key])


def trace_step(
    parts: Parts,
    init: Callable[..., State],
    learner_of: Callable[[State], tuple[Learner, Tools]],
    hyper: Any,
) -> AbstractStep:
    """Traces the first state and a step from it.

    Of parts that are all lepton_jax's own, the step is traced without its gradient.

    Args:
      init: `(seed, hyper, **tools) -> state`, with these tools in place of its own.
      learner_of: returns what takes the step of a state, and the tools that it is handed.
      hyper: the numbers that trials may vary, as arrays.
    """
    size = parts.config.batch_size
    batch = {
        name: jax.ShapeDtypeStruct((size, *f.shape), f.dtype)
        for name, f in parts.spec.fields.items()
    }
    batch["position"] = jax.ShapeDtypeStruct((size,), jnp.int32)
    sum_names: list[str] = []
    watch = _StructureWatch(parts.functional)
    held: dict[str, bool] = {}
    use = _Use()

    def trace(numbers: Any, zeros: Any, seed: jax.Array, hyper: Any, batch: Batch) -> Any:
        hyper = {**hyper, "model": numbers}
        make = parts.make_model(hyper)

        def init_model(key: jax.Array) -> tuple[Any, Any]:
            return watch.init(make(nnx.Rngs(params=key)))

        state = _mark_variables(init(seed, hyper, init_model=init_model))
        held.update((name, watch.holds(x)) for name, x in flatten_tree(numbers).items())
        learner, tools = learner_of(state)
        use.own_steps = not isinstance(learner, Supervised)
        tools = use.watched(dataclasses.replace(tools, model=watch.model), zeros)
        batch = training_batch(batch)
        if isinstance(learner, Supervised) and not parts.are_users:
            new, sums = learner.trace_loss(tools, state.learner, batch)
        else:
            new, sums = learner.update(tools, state.learner, batch)
            if not isinstance(learner, Supervised):
                check_sums(sums, learner, "update")
            _check_same_state(state.learner, new)
        sum_names.extend(sorted([*sums, "learning_rate"]))
        return state, new, sums

    seed = jax.ShapeDtypeStruct((), jnp.uint32)
    zero = jax.ShapeDtypeStruct((), jnp.float32)
    arguments = (hyper["model"], (zero, zero), seed, hyper, batch)
    make_trace = jax.make_jaxpr(trace, return_shape=True)
    traced, shapes = parts.explained(lambda: make_trace(*arguments))
    reaching = _reaches_outputs(traced.jaxpr)
    of_numbers = zip(held.items(), reaching, strict=False)
    constants = tuple(name for (name, kept), reaches in of_numbers if kept or reaches)
    unused = use.in_vain(parts.config, *reaching[len(held) : len(held) + 2])
    return AbstractStep(shapes[0], tuple(sum_names), constants, parts.config.model.name, unused)


_IN_VAIN = {
    "mixed_share": (
        "data.augment: mixup and cutmix mix labels too ('mixed_label', 'mixed_share'), but the "
        "task's loss does not read them; expected a task that does, such as image_classification"
    ),
    "data.augment": (
        "data.augment: the task takes its own steps, in which it does not call tools.augment; "
        "expected '', or `tools.augment(batch, tools.noise(batch))` in its update"
    ),
    "ema": (
        "ema: the task takes its own steps, which do not use tools.ema; expected 0.0, or an "
        "average in its state that `variables` returns"
    ),
}


class _Use:
    """What one trace shows of the tools that a step uses."""

    def __init__(self) -> None:
        self._augments = self._mixes = False
        self.own_steps = False
        """Whether the task takes its own steps. `Supervised` uses all tools."""

    def watched(self, tools: Tools, zeros: tuple[jax.Array, jax.Array]) -> Tools:
        """Returns the same tools, with the first of two zeros in the shares of mixed labels and the
        second in the decay of the average: they are followed from there.
        """

        def augment(batch: Batch, noise: Noise) -> Batch:
            self._augments = True
            batch = tools.augment(batch, noise)
            if "mixed_share" not in batch:
                return batch
            self._mixes = True
            share = batch["mixed_share"]
            return {**batch, "mixed_share": share + zeros[0].astype(share.dtype)}

        ema = tools.ema if is_off(tools.ema) else tools.ema + zeros[1].astype(tools.ema.dtype)
        return dataclasses.replace(tools, augment=augment, ema=ema)

    def in_vain(self, config: Config, mixed: bool, averaged: bool) -> tuple[str, ...]:
        """Returns keys of `_IN_VAIN`; the two flags say whether each zero reached the step."""
        unused = {
            "mixed_share": self._mixes and not mixed,
            "data.augment": self.own_steps and bool(config.data.augment) and not self._augments,
            "ema": self.own_steps and config.ema != 0 and not averaged,
        }
        return tuple(key for key, in_vain in unused.items() if in_vain)


def _check_same_state(before: Any, after: Any) -> None:
    """Raises `UserError` when a step changes shapes or dtypes: it could not be taken again."""
    old, new = flatten_tree(before), flatten_tree(after)
    for name in [*old, *new]:
        was, is_ = (describe_value(x[name]) if name in x else "none" for x in (old, new))
        if was != is_:
            raise UserError(
                f"a step makes another state: learner.{name} was {was} and is {is_}; expected the "
                "same shapes and dtypes before and after"
            )
    structure = str(jax.tree.structure(before))
    if structure != str(jax.tree.structure(after)):
        raise UserError(
            f"a step makes another state: it was {structure} and is {jax.tree.structure(after)}"
        )


class _StructureWatch:
    """What one trace shows of the numbers in a model's structure."""

    def __init__(self, functional: Functional):
        self.model = functional
        """The model of the step: that of `init`, its structure with the traced numbers in it."""
        self._held: set[int] = set()

    def init(self, module: Any) -> tuple[Any, Any]:
        """Returns fresh `(params, rest)` of a module that was built in this trace."""
        self._held = {id(array) for _, array in array_attributes(module)}
        self.model = self.model.with_structure(module)
        return self.model.split(module)

    def holds(self, number: Any) -> bool:
        """Returns whether a module keeps this traced number as a plain attribute."""
        return id(number) in self._held


def _mark_variables(state: Any) -> Any:
    """Marks every leaf of a traced state; what reaches the step through it is no constant."""
    return jax.tree.map(lambda x: checkpoint_name(x, _VARIABLES), state)


def _reaches_outputs(jaxpr: Any) -> list[bool]:
    """Returns for every input whether it reaches an output other than through a marked leaf."""
    needed = set(map(id, jaxpr.outvars))
    for equation in reversed(jaxpr.eqns):
        marked = equation.params.get("name") == _VARIABLES
        if not marked and any(id(x) in needed for x in equation.outvars):
            needed.update(map(id, equation.invars))
    return [id(x) in needed for x in jaxpr.invars]
