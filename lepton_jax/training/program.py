"""The program of a run: its pure functions, built once from (config, data specification).

`init`, `step` and `evaluate` are pure and know nothing of devices; `layout.py` says where they run.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.config.components import Component, resolve_component
from lepton_jax.config.config import Config, hyper_of
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.schema import parse_duration
from lepton_jax.data.dataset import SEED, DataSpec, FieldSpec
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.nn.batch import Batch
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.tasks.answers import ANSWERS
from lepton_jax.training import optimizer
from lepton_jax.training.functional import Functional
from lepton_jax.training.learner import Supervised, Tools, checked_sums
from lepton_jax.training.lora import Adapters
from lepton_jax.training.state import State, Totals
from lepton_jax.training.step import training_batch

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


class _Outputs(dict[str, jax.Array]):
    """What a task's `predict` gives, for metrics and surprise, which may ask for more."""

    def __init__(self, task: str, outputs: Mapping[str, jax.Array]):
        super().__init__(outputs)
        self._task = task

    def __missing__(self, name: str) -> jax.Array:
        raise UserError(
            f"task {self._task}: an evaluation asks its predict for {name!r}, as a metric or "
            f"`surprise` needs; it gives {', '.join(map(repr, self)) or 'nothing'}"
        )


class Program:
    """What a config computes on data of a given shape.

    `train_examples` turns epochs into steps. Numbers that trials may vary are read from the state,
    so that one program serves every trial that differs in nothing else.
    """

    def __init__(self, config: Config, spec: DataSpec, train_examples: int):
        self.config = config
        self.spec = spec
        self.train_examples = train_examples
        self.total_steps = self.steps(config.train_for)
        self._check_schedule()
        self._augment = config.data.augment
        self._prepare = config.data.prepare
        self._dtype = PRECISIONS[config.precision]
        task = self._task({})
        if getattr(task, "carries", False) and config.data.order != "contiguous":
            raise UserError(
                f"task.carry = True: a row of the batch goes on with what it knows, but data.order "
                f"= {config.data.order!r} gives it another text every step; expected 'contiguous'"
            )
        if config.lora and hasattr(task, "update"):
            raise UserError("lora needs a task with one model; this one has a step of its own")
        self.shape = (task.input_shape, task.outputs)
        """What the model is built for: its input shape and its outputs."""
        self.functional = Functional(self._make_model({}))
        self._schedule = config.schedule.build(self.total_steps, self.steps)
        self.sum_names = self._sum_names()

    def period(self, duration: str) -> float:
        """A duration in steps, exactly: an epoch need not be a whole number of them."""
        length, unit = parse_duration(duration)
        examples = {"steps": self.config.batch_size, "epochs": self.train_examples, "examples": 1}[
            unit
        ]
        return length * examples / self.config.batch_size

    def steps(self, duration: str) -> int:
        """A duration in whole steps, at least 1 (but for zero)."""
        exact = self.period(duration)
        return max(1, round(exact)) if exact else 0

    def _check_schedule(self) -> None:
        for name, value in self.config.schedule.keys.items():
            if isinstance(value, str) and self.steps(value) > self.total_steps:
                raise UserError(
                    f"schedule.{name} = {value!r} is {self.steps(value)} steps: longer than the "
                    f"run, train_for = {self.config.train_for!r} is {self.total_steps} steps"
                )

    def _task(self, hyper: Mapping[str, Any]) -> Any:
        return self.config.task.build(self.spec, hyper=hyper)

    def _make_model(self, hyper: Mapping[str, Any]) -> Callable[..., Any]:
        return lambda rngs: self.config.model.build(*self.shape, hyper=hyper, rngs=rngs)

    def _learner(self, hyper: Mapping[str, Any]) -> Any:
        task = self._task(hyper["task"])
        return task if hasattr(task, "update") else Supervised(task, self._adapters(hyper))

    def _adapters(self, hyper: Mapping[str, Any]) -> Adapters | None:
        lora = self.config.lora
        return Adapters(lora, hyper["lora"]["alpha"], self.functional.params) if lora else None

    def _tools(self, hyper: Mapping[str, Any], seed: jax.Array, step: jax.Array) -> Tools:
        make = self._make_model(hyper["model"])
        return Tools(
            model=self.functional,
            init_model=lambda key: self.functional.init(key, make),
            optimizer=optimizer.build_optimizer(
                self.config.optimizer, hyper["optimizer"], self._schedule(step)
            ),
            ema=hyper["ema"].get("decay", 0.0),
            accumulate=self.config.accumulate,
            batch_size=self.config.batch_size,
            cast=self.cast,
            noise=lambda batch: Noise(example_keys(seed, step, batch["position"])),
            augment=lambda batch, noise: self.prepare(self.augment(hyper, batch, noise)),
        )

    def augment(self, hyper: Mapping[str, Any], batch: Batch, noise: Noise) -> Batch:
        """What the training step alone does to a raw batch, before it prepares it."""
        return _run(self._augment, hyper["augment"], batch, noise)

    def cast(self, tree: Any) -> Any:
        """Floating leaves to the precision of the computation."""
        return jax.tree.map(
            lambda x: x.astype(self._dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
        )

    def prepare(self, batch: Batch) -> Batch:
        """What every step, evaluation and exported program does to a raw batch."""
        batch = _run(self._prepare, [{} for _ in self._prepare], batch, None)
        return {k: v if k == "mask" else self.cast(v) for k, v in batch.items()}

    def init(self, seed: jax.Array, hyper: Any) -> State:
        """The state before the first step. `seed`: uint32 []; `hyper`: `hyper_of`, as arrays."""
        zero = jnp.zeros((), jnp.int32)
        tools = self._tools(hyper, seed, zero)
        key = jax.random.key(seed, impl="threefry2x32")
        learner = self._learner(hyper).init(tools, key)
        if self._dtype == jnp.float64:
            learner = self.cast(learner)
        return State(zero, seed, jnp.full((), -1, jnp.int32), hyper, learner)

    def step(self, state: State, sums: Totals, batch: Batch) -> tuple[State, Totals]:
        """One step on a raw batch: fields `[B, ...]` and `position` int32 [B], global positions.

        From the first step whose numbers are not finite the state stands still, so that no
        checkpoint is poisoned however late the host looks.
        """
        learner, values = self.update(state, batch)
        finite = jnp.isfinite(values).all()
        good = finite & (state.bad_step < 0)
        learner = jax.tree.map(lambda new, old: jnp.where(good, new, old), learner, state.learner)
        bad_step = jnp.where(finite | (state.bad_step >= 0), state.bad_step, state.step)
        step = state.step + good.astype(jnp.int32)
        added = sums.values + jnp.where(good, values, 0)
        return State(step, state.seed, bad_step, state.hyper, learner), Totals(added, bad_step)

    def update(self, state: State, batch: Batch) -> tuple[Any, jax.Array]:
        """A step's new learner and its sums [2, N], be they finite or not."""
        learner, tools = self.learner(state)
        learner, sums = learner.update(tools, state.learner, training_batch(batch))
        rate = state.hyper["optimizer"]["learning_rate"] * self._schedule(state.step)
        sums = {**sums, "learning_rate": (rate, jnp.ones(()))}
        totals, weights = zip(*(sums[name] for name in sorted(sums)), strict=True)
        dtype = jnp.promote_types(self._dtype, jnp.float32)
        return learner, jnp.stack(
            [jnp.stack([x.astype(dtype) for x in t]) for t in (totals, weights)]
        )

    def learner(self, state: State) -> tuple[Any, Tools]:
        """What takes the step of a state, and what it has at hand."""
        return self._learner(state.hyper), self._tools(state.hyper, state.seed, state.step)

    @property
    def beside(self) -> tuple[str, ...]:
        """The parts of the learner's state that are kept beside parameters."""
        return tuple(getattr(self._learner(hyper_of(self.config)), "beside", ()))

    def empty_sums(self) -> Totals:
        dtype = jnp.promote_types(self._dtype, jnp.float32)
        zeros = jnp.zeros((2, len(self.sum_names)), dtype)
        return Totals(zeros, jnp.full((), -1, jnp.int32))

    def means(self, values: Any) -> dict[str, float]:
        """What sums [2, N] come to: `{'train/loss': 0.4, ...}`."""
        totals, weights = np.asarray(values)
        means = np.divide(totals, weights, out=np.zeros_like(totals), where=weights != 0)
        return {f"train/{n}": m.item() for n, m in zip(self.sum_names, means, strict=True)}

    def variables(self, state: State) -> tuple[Any, Any]:
        """`(params, rest)` of the model that is evaluated and exported."""
        return self._learner(state.hyper).variables(state.learner)

    def module(self, params: Any, rest: Any) -> Any:
        """The model in the precision of the computation, inside a trace."""
        return self.functional.merge(self.cast(params), rest)

    def evaluate(self, metrics: Mapping[str, Any], state: State, batch: Batch) -> Any:
        """Of a raw batch with a `mask` float32 [B]: `sums`, the task's means and each metric's.

        And `examples`, of each example [B] how much it surprised, if the task says what surprise
        is, and of a class which it was and how sure. Those of padding are at -inf. And `gathered`,
        the rows [B, ...] that a metric wants of every example, beside their `mask`.
        """
        model, batch = self.module(*self.variables(state)), self.prepare(batch)
        task = self._task(state.hyper["task"])
        outputs = task.predict(model, batch) if metrics or hasattr(task, "surprise") else {}
        outputs = _Outputs(self.config.task.name, outputs)
        added = {n: m.sums(outputs, batch) for n, m in metrics.items() if not _gathers(m)}
        rows = {
            name: {**metric.gathered(outputs, batch), "mask": batch["mask"]}
            for name, metric in metrics.items()
            if _gathers(metric)
        }
        sums = {"means": checked_sums(task, model, batch, None), "metrics": added}
        if not hasattr(task, "surprise"):
            return {"sums": sums, "examples": {}, "gathered": rows}
        nats = jnp.where(batch["mask"] > 0, task.surprise(outputs, batch), -jnp.inf)
        examples = {"loss": nats}
        if self.answer == "class":
            sure = outputs["probabilities"].max(-1)
            examples |= {"answer": outputs["label"], "confidence": sure}
        return {"sums": sums, "examples": examples, "gathered": rows}

    def metrics(self, extra: Mapping[str, Component]) -> dict[str, Any]:
        """The task's own metrics and those that the config names."""
        own = self._task({}).metrics()
        return own | {name: m.build(self.spec.classes) for name, m in extra.items()}

    def predict(self, params: Any, rest: Any, inputs: Batch) -> dict[str, jax.Array]:
        """Answers to raw inputs `[B, ...]`: preparation, model, and the task's reading of it."""
        return self._task({}).predict(self.module(params, rest), self.prepare(inputs))

    @property
    def aligns(self) -> bool:
        """Whether `aligned` can be asked."""
        model = resolve_component("model", self.config.model.name)
        return hasattr(self._task({}), "aligned") and hasattr(model, "aligned")

    def aligned(self, params: Any, rest: Any, inputs: Batch) -> dict[str, jax.Array]:
        """As `predict`, and what the answers were read from."""
        return self._task({}).aligned(self.module(params, rest), self.prepare(inputs))

    @property
    def task_input_fields(self) -> tuple[str, ...]:
        """The names of what a prediction needs, whether the data has it or not.

        Raises:
          UserError: when the task does not say.
        """
        task = self._task({})
        if not hasattr(task, "input_fields"):
            raise UserError(
                f"task {self.config.task.name} has no input_fields: the names of the data's fields "
                "that a prediction needs, such as ('image',), or ('seed',)"
            )
        return tuple(task.input_fields)

    @property
    def input_fields(self) -> dict[str, FieldSpec]:
        """The fields of the data that a prediction needs, or its seed, without the batch axis.

        Raises:
          UserError: when the task predicts from something that is no field of the data.
        """
        names, fields = self.task_input_fields, {**self.spec.fields, "seed": SEED}
        for name in names:
            if name not in fields:
                raise UserError(
                    f"task {self.config.task.name} predicts from {name!r}, which is no field of "
                    f"the data ({', '.join(fields)}): there is nothing to try a bundle on"
                )
        return {name: fields[name] for name in names}

    @property
    def answer(self) -> str:
        """Of what kind the task's answers are, a key of `ANSWERS`.

        Raises:
          UserError: when the task names another kind.
        """
        kind = getattr(self._task({}), "answer", "numbers")
        if kind not in ANSWERS:
            raise UserError(
                f"task {self.config.task.name}: answer = {kind!r}{did_you_mean(kind, ANSWERS)}; "
                f"expected one of {', '.join(ANSWERS)}"
            )
        return kind

    def hyper(self) -> Any:
        """This config's numbers as arrays on the host."""
        dtype = jnp.float64 if self._dtype == jnp.float64 else jnp.float32
        return jax.tree.map(lambda x: jnp.asarray(x, dtype), hyper_of(self.config))

    def abstract_state(self) -> State:
        """Shapes and types of the state."""
        return jax.eval_shape(self.init, jax.ShapeDtypeStruct((), jnp.uint32), self.hyper())

    def _sum_names(self) -> tuple[str, ...]:
        batch = {
            name: jax.ShapeDtypeStruct((self.config.batch_size, *f.shape), f.dtype)
            for name, f in self.spec.fields.items()
        }
        batch["position"] = jax.ShapeDtypeStruct((self.config.batch_size,), jnp.int32)
        names: list[str] = []

        def trace(state: State, batch: Batch) -> Any:
            learner, tools = self.learner(state)
            _, sums = learner.update(tools, state.learner, training_batch(batch))
            names.extend(sorted([*sums, "learning_rate"]))

        jax.eval_shape(trace, self.abstract_state(), batch)
        return tuple(names)


def _gathers(metric: Any) -> bool:
    return hasattr(metric, "gathered")


def _run(
    transforms: Pipeline, hypers: list[dict[str, Any]], batch: Batch, noise: Noise | None
) -> Batch:
    for transform, hyper in zip(transforms, hypers, strict=True):
        batch = transform.build(batch, noise, hyper=hyper)
    return batch
