"""Evaluates a state on a split: every example counted once, the ragged last batch masked."""

import collections
import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lepton_jax.config.user_code import BrokenPart, blame, definition_of, users_line
from lepton_jax.console import say
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError, describe_value
from lepton_jax.evaluation.halves import TooMuchReached, sums_of_made_up_batch
from lepton_jax.evaluation.program import EvaluatedProgram, State
from lepton_jax.evaluation.worst import WorstExamples, list_worst
from lepton_jax.placement.mesh import IN_FLIGHT, BatchPlacement

TRIED = 256
"""Examples, at most, that a metric is shown before the first step."""
_RESULTS = "expected {'name': number, ...}; lists and dicts of plain values are recorded as well"


class Evaluator:
    """The compiled evaluation of a program by some metrics, for splits of any length."""

    def __init__(
        self, program: EvaluatedProgram, placement: BatchPlacement, metrics: Mapping[str, Any]
    ):
        self._program, self._metrics = program, metrics
        self._batch_size = program.config.batch_size
        self._rows = placement.rows(self._batch_size)
        self._put = placement.put_rows
        self._tolerance = 1e-3 if program.config.precision != "bfloat16" else 3e-2
        self._checked = self._told = False
        self._names: tuple[str, ...] | None = None
        self._told_of: set[str] = set()
        """Metrics whose results have been told not to be finite."""

        def evaluate(state: State, batch: Any) -> Any:
            return program.scoring.evaluate(metrics, state, batch)

        self._evaluate = placement.compile_sums(evaluate)

    def names(self, columns: Columns, fresh_state: Callable[[], State]) -> tuple[str, ...]:
        """Returns the names of the numbers that an evaluation of `columns` gives.

        The evaluation is traced, and its metrics make results of made-up numbers. Only a metric
        that fails on those is shown what a fresh model answers to a few examples.

        Raises:
          UserError: when a part of the user's own fails, or what should be sums are means.
        """
        if self._names is None:
            made_up = self._trace()
            try:
                with np.errstate(all="ignore"):
                    results = self.results(made_up, made_up=True)
            except BrokenPart:
                places = np.linspace(0, len(columns) - 1, min(TRIED, len(columns)))
                few = Columns(columns.rows(places.astype(np.int64)))
                results = self.results(self.sums(fresh_state(), few), made_up=True)
            self._names = tuple(scalar_results(results))
        return self._names

    def _trace(self) -> Any:
        """Traces the evaluation of a batch. Returns made-up sums and rows, as `sums` would."""
        program, size = self._program, self._batch_size
        batch = {
            name: jax.ShapeDtypeStruct((size, *f.shape), f.dtype)
            for name, f in program.spec.fields.items()
        }
        batch["mask"] = mask = jax.ShapeDtypeStruct((size,), np.float32)
        batch["seed"] = jax.ShapeDtypeStruct((size,), np.uint32)
        state = program.training.abstract_state()
        traced, shapes = jax.make_jaxpr(self._evaluate, return_shape=True)(state, batch)
        _refuse_kept_arrays(traced.consts, f"model {program.config.model.name}")
        if self._has_users_sums:
            place = next(i for i, x in enumerate(jax.tree.leaves((state, batch))) if x is mask)
            paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
            wanted = [i for i, path in enumerate(paths) if path[0].key == "sums"]
            with contextlib.suppress(TooMuchReached):  # `sums` looks at the first real batch
                sums = sums_of_made_up_batch(traced, place, size, wanted)
                for i, whole, halves in zip(wanted, *sums, strict=True):
                    self._check_halves(paths[i][1:], whole, halves)
        leaves, structure = jax.tree.flatten(shapes["sums"])
        # No two alike, or a variance computed from them would be zero.
        numbers = [np.full(x.shape, 1.0 + 1 / (2 + i)) for i, x in enumerate(leaves)]
        rows = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes["gathered"])
        for gathered in rows.values():
            gathered["mask"] = np.ones(size, np.float32)
        return {**jax.tree.unflatten(structure, numbers), "gathered": [rows]}

    @property
    def _has_users_sums(self) -> bool:
        metrics = self._metrics.values()
        own = any(map(_is_users, metrics))
        return own or ":" in self._program.config.task.name

    def __call__(self, state: State, columns: Columns) -> dict[str, Any]:
        """Returns `{'loss': 0.1, 'accuracy': 0.98, 'confusion': [[...]], 'worst': [...], ...}`."""
        return self.results(self.sums(state, columns))

    def sums(self, state: State, columns: Columns) -> Any:
        """Adds up all examples of a split, in their order, on the host, in float64.

        Returns `means` and `metrics`, the sums of the task and of each metric; `not_numbers`, how
        many answers are NaN; `worst`, the arrays of `WorstExamples`; and `gathered`, a list of the
        rows of each batch that metrics want.
        """
        total: Any = None
        not_numbers: list[Any] = []
        gathered: list[Any] = []
        worst = WorstExamples()
        in_flight: collections.deque[Any] = collections.deque()

        def settle() -> None:
            nonlocal total
            measured = in_flight.popleft()
            total = _add(total, measured["sums"])
            examples = jax.device_get(measured["examples"])
            worst.add(examples)
            if examples:
                not_numbers.append(np.isnan(examples["loss"]).sum(-1))
            gathered.append(jax.device_get(measured["gathered"]))

        for batch in masked_batches(columns, self._batch_size, self._rows):
            if not self._checked:
                self._check_sums(state, batch)
            sent = self._put(batch, self._rows, self._batch_size)
            in_flight.append(self._evaluate(state, sent))
            if len(in_flight) > IN_FLIGHT:
                settle()
        while in_flight:
            settle()
        counted = {"not_numbers": sum(not_numbers)} if not_numbers else {}
        return {**total, **counted, "worst": worst.arrays, "gathered": gathered}

    def _check_sums(self, state: State, batch: Mapping[str, np.ndarray]) -> None:
        """Checks that two halves of a batch add up to the batch, which means would not.

        Raises:
          UserError: naming what does not add up.
        """
        halves = []
        for half in (0, 1):
            mask = batch["mask"] * (self._rows % 2 == half).astype(np.float32)
            sent = self._put({**batch, "mask": mask}, self._rows, self._batch_size)
            halves.append(_add(None, self._evaluate(state, sent)["sums"]))
        sent = self._put(batch, self._rows, self._batch_size)
        of_batch = _add(None, self._evaluate(state, sent)["sums"])
        if any(np.isnan(x).any() for x in jax.tree.leaves((halves, of_batch))):
            return  # NaN adds up to nothing: the next batch will show it
        of_halves = dict(jax.tree_util.tree_leaves_with_path(jax.tree.map(np.add, *halves)))
        self._checked = True
        for path, x in jax.tree_util.tree_leaves_with_path(of_batch):
            self._check_halves(path, x, of_halves[path])

    def _check_halves(self, path: Any, whole: np.ndarray, halves: np.ndarray) -> None:
        """Raises `UserError` when a sum over a batch is not the one over its halves."""
        close = np.isclose(
            whole, halves, rtol=self._tolerance, atol=self._tolerance, equal_nan=True
        )
        if close.all():
            return
        i = int(np.argmin(close))
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        raise UserError(
            f"task {self._program.config.task.name}: {name} of a whole batch is "
            f"{np.ravel(whole)[i]:.6g}, but the sum over its two masked halves is "
            f"{np.ravel(halves)[i]:.6g}; a task and a metric return sums over the examples whose "
            "mask is 1, and their weight, never means, and nothing that pairs the rows of a batch"
        )

    def results(self, sums: Any, *, made_up: bool = False) -> dict[str, Any]:
        """Makes results of what `sums` returned: a mean is its total over its weight.

        Unless the sums are `made_up`, it tells of a user's metric that gives no finite number.

        Of no weight a mean is 0.0, as of boxes where there are none; a loss is NaN then, which
        would be the best of all otherwise.

        An answer of NaN has no class, though its argmax is 0. So where there is one, every metric
        is NaN, and `not_numbers` counts them.

        Raises:
          UserError: when a metric fails, or gives a result called 'loss' or as another's is called.
        """
        results: dict[str, Any] = {
            name: float(total / weight) if weight else 0.0
            for name, (total, weight) in sums["means"].items()
        }
        given_by: dict[str, str] = {}
        for name, metric in self._metrics.items():
            batches = [rows[name] for rows in sums["gathered"] if name in rows]
            given = _join_rows(batches) if batches else sums["metrics"][name]
            try:
                measured = metric.results(given)
                values = {key: to_json_value(value) for key, value in measured.items()}
                json.dumps(values)
            except Exception as e:  # noqa: BLE001  whatever a user's metric raises
                at, got = definition_of(metric.results), describe_value(given)
                cure = "" if users_line(e) else _RESULTS
                blame(f"metric {name}.results", e, got=got, at=at, cure=cure)
            if "loss" in measured:
                raise UserError(
                    f"metric {name} gives a value called 'loss', the name of the task's loss; "
                    "rename it"
                )
            for key in scalar_results(values):
                other = given_by.setdefault(key, name)
                if not _same_metric(self._metrics[other], metric):
                    raise UserError(
                        f"metrics {other} and {name} both give a value called {key!r}, and one "
                        "would take the other's place; rename it, or leave one out"
                    )
            results |= values
            if not made_up and not sums.get("not_numbers"):
                self._tell_of_metric(name, values)
        if not sums["means"]["loss"][1]:
            results["loss"] = float("nan")
        if count := int(sums.get("not_numbers", 0)):
            results = {name: float("nan") for name in scalar_results(results)}
            results["not_numbers"] = float(count)
        self._tell(results)
        if sums.get("worst"):
            results["worst"] = list_worst(sums["worst"])
        return results

    def _tell_of_metric(self, name: str, values: Mapping[str, Any]) -> None:
        """Says once of a user's metric which of its results are no finite numbers."""
        odd = [
            f"{key} is {value}"
            for key, value in values.items()
            if value is None or (isinstance(value, float) and not math.isfinite(value))
        ]
        if odd and _is_users(self._metrics[name]) and name not in self._told_of:
            self._told_of.add(name)
            say(f"warning: metrics.{name}: {', '.join(odd)}; no line and no curve shows that")

    def _tell(self, results: Mapping[str, Any]) -> None:
        """Says once that an evaluation gave no numbers: such a step is never the best."""
        if self._told or math.isfinite(results.get("loss", 0.0)):
            return
        self._told = True
        count = results.get("not_numbers", 0)
        answers = f", and {count:.0f} of its answers are NaN: its metrics are too" if count else ""
        say(f"warning: the loss of an evaluation is {results['loss']}{answers}; it is never best")


def masked_batches(
    columns: Columns, batch_size: int, rows: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the examples in order, in batches of one size: of each batch these `rows`, int [b].

    A batch has the fields of `columns`; `mask` float32 [b], 1 for an example and 0 for padding; and
    `seed` uint32 [b], the example's number in its split.
    """
    for start in range(0, len(columns), batch_size):
        index = start + rows
        mask = (index < len(columns)).astype(np.float32)
        index = np.minimum(index, len(columns) - 1)
        yield {**columns.rows(index), "mask": mask, "seed": index.astype(np.uint32)}


def _is_users(metric: Any) -> bool:
    """Tells whether a metric is the user's own."""
    return not type(metric).__module__.startswith("lepton_jax.")


def _same_metric(a: Any, b: Any) -> bool:
    """Tells whether two metrics measure the same, as the task's own does that a config repeats."""
    return type(a) is type(b) and repr(getattr(a, "__dict__", a)) == repr(getattr(b, "__dict__", b))


def to_json_value(value: Any) -> Any:
    """Converts a metric's result to what JSON can hold: every number becomes a float."""
    if isinstance(value, jax.Array):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, int | np.number) and not isinstance(value, bool):
        return float(value)
    return value.tolist() if isinstance(value, np.ndarray | np.bool_) else value


def scalar_results(results: Mapping[str, Any]) -> dict[str, float]:
    """Selects the numbers among the results, which the record keeps a curve of."""
    return {k: v for k, v in results.items() if isinstance(v, float)}


def _refuse_kept_arrays(constants: list[Any], model: str) -> None:
    """Raises `UserError` when a trace holds an array of another trace: a part has kept it."""
    for constant in constants:
        if isinstance(constant, jax.core.Tracer):
            try:
                constant + 0
            except jax.errors.UnexpectedTracerError as e:
                blame(f"{model} or its task", e)


def _join_rows(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Joins the rows [E, ...] of the examples whose mask is 1, in order."""
    rows = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    counts = rows.pop("mask") > 0
    return {name: values[counts] for name, values in rows.items()}


def _add(total: Any, sums: Any) -> Any:
    """Adds sums to a total on the host, in float64; `None` stands for an empty total."""
    sums = jax.tree.map(lambda x: np.asarray(jax.device_get(x), np.float64), sums)
    return sums if total is None else jax.tree.map(np.add, total, sums)
