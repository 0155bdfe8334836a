"""Evaluates a state on a split: every example counted once, the ragged last batch masked."""

import collections
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol

import jax
import numpy as np

from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError
from lepton_jax.evaluation.worst import WorstExamples, list_worst
from lepton_jax.training.loop import IN_FLIGHT
from lepton_jax.training.program import Program
from lepton_jax.training.state import State


class Placed(Protocol):
    """A program and where it runs, as an evaluation needs it."""

    @property
    def program(self) -> Program: ...

    @property
    def placement(self) -> "Places": ...


class Places(Protocol):
    def rows(self, batch_size: int) -> np.ndarray: ...

    def put_rows(self, tree: Any, rows: np.ndarray, batch_size: int) -> Any: ...

    def compile_sums(self, function: Callable[..., Any]) -> Any: ...


class Evaluator:
    """A compiled evaluation, for splits of any length."""

    def __init__(self, layout: Placed, metrics: Mapping[str, Any]):
        program, place = layout.program, layout.placement
        self._program, self._metrics = program, metrics
        self._batch_size = program.config.batch_size
        self._rows = place.rows(self._batch_size)
        self._put = place.put_rows
        self._tolerance = 1e-3 if program.config.precision != "bfloat16" else 3e-2
        self._checked = False

        def evaluate(state: State, batch: Any) -> Any:
            return program.evaluate(metrics, state, batch)

        self._sums = place.compile_sums(evaluate)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the numbers that an evaluation gives.

        Raises:
          UserError: when a metric cannot make results of sums that nobody measured.
        """
        program = self._program
        spec = program.spec.fields.items()
        batch = {
            name: jax.ShapeDtypeStruct((self._batch_size, *f.shape), f.dtype) for name, f in spec
        }
        batch["mask"] = jax.ShapeDtypeStruct((self._batch_size,), np.float32)
        batch["seed"] = jax.ShapeDtypeStruct((self._batch_size,), np.uint32)
        found = jax.eval_shape(self._sums, program.abstract_state(), batch)
        leaves, structure = jax.tree.flatten(found["sums"])
        # No two alike, or a variance made of them would be zero.
        made = [np.full(x.shape, 1.0 + 1 / (2 + i)) for i, x in enumerate(leaves)]
        rows = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), found["gathered"])
        try:
            with np.errstate(all="ignore"):
                results = self.results({**jax.tree.unflatten(structure, made), "gathered": [rows]})
        except UserError:
            raise
        except Exception as e:
            raise UserError(
                "a metric's `results` is called once with numbers near 1, to learn the names of "
                f"what it gives; one of task {program.config.task.name} or of metrics failed: "
                f"{type(e).__name__}: {e}"
            ) from e
        return tuple(scalar_results(results))

    def __call__(self, state: State, columns: Columns) -> dict[str, Any]:
        """`{'loss': 0.1, 'accuracy': 0.98, 'confusion': [[...]], 'worst': [{...}], ...}`."""
        return self.results(self.sums(state, columns))

    def sums(self, state: State, columns: Columns) -> Any:
        """What all examples add up to: in float64, on the host, in the order of the examples.

        Beside it, `worst`: the examples that surprised most, of which `results` makes a list; and
        `gathered`: the rows of each batch that metrics want.
        """
        total: Any = None
        gathered: list[Any] = []
        found = WorstExamples()
        in_flight: collections.deque[Any] = collections.deque()

        def settle() -> None:
            nonlocal total
            made = in_flight.popleft()
            total = _added(total, made["sums"])
            found.add(jax.device_get(made["examples"]))
            gathered.append(jax.device_get(made["gathered"]))

        for batch in masked_batches(columns, self._batch_size, self._rows):
            if not self._checked:
                self._check_sums(state, batch)
            sent = self._put(batch, self._rows, self._batch_size)
            in_flight.append(self._sums(state, sent))
            if len(in_flight) > IN_FLIGHT:
                settle()
        while in_flight:
            settle()
        return {**total, "worst": found.arrays, "gathered": gathered}

    def _check_sums(self, state: State, batch: Mapping[str, np.ndarray]) -> None:
        """Halves of a batch must add up to the whole: a mean in place of a sum does not.

        Raises:
          UserError: naming what does not add up.
        """
        halves = []
        for half in (0, 1):
            mask = batch["mask"] * (self._rows % 2 == half).astype(np.float32)
            sent = self._put({**batch, "mask": mask}, self._rows, self._batch_size)
            halves.append(_added(None, self._sums(state, sent)["sums"]))
        sent = self._put(batch, self._rows, self._batch_size)
        whole = _added(None, self._sums(state, sent)["sums"])
        both = dict(jax.tree_util.tree_leaves_with_path(jax.tree.map(np.add, *halves)))
        self._checked = True
        for path, x in jax.tree_util.tree_leaves_with_path(whole):
            y = both[path]
            if not np.allclose(x, y, rtol=self._tolerance, atol=self._tolerance, equal_nan=True):
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                task = self._program.config.task.name
                raise UserError(
                    f"task {task}: {name} of a batch is {np.ravel(x)[0]:.6g}, and of its two "
                    f"halves, masked, together {np.ravel(y)[0]:.6g}; a task and a metric return "
                    "sums over the examples whose mask is 1, and their weight, never means"
                )

    def results(self, sums: Any) -> dict[str, Any]:
        """What `sums` come to."""
        means: dict[str, Any] = {
            name: float(total / weight) if weight else 0.0
            for name, (total, weight) in sums["means"].items()
        }
        for name, metric in self._metrics.items():
            of_batches = [rows[name] for rows in sums["gathered"] if name in rows]
            found = metric.results(_rows(of_batches) if of_batches else sums["metrics"][name])
            if "loss" in found:
                raise UserError(f"metric {name} gives a 'loss', which is the task's; rename it")
            means |= {key: to_json_value(value) for key, value in found.items()}
        if sums.get("worst"):
            means["worst"] = list_worst(sums["worst"])
        return means


def masked_batches(
    columns: Columns, batch_size: int, rows: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """The examples in order, in batches of one size with a `mask` float32 of 1s and 0s, and a
    `seed` uint32: the example's number.

    Of each batch the given rows: a process's share.
    """
    for start in range(0, len(columns), batch_size):
        index = start + rows
        mask = (index < len(columns)).astype(np.float32)
        index = np.minimum(index, len(columns) - 1)
        yield {**columns.rows(index), "mask": mask, "seed": index.astype(np.uint32)}


def to_json_value(value: Any) -> Any:
    """A metric's result as JSON takes it: a number of whatever kind is a float."""
    if isinstance(value, int | np.number) and not isinstance(value, bool):
        return float(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def scalar_results(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the results, which the record keeps a curve of."""
    return {k: v for k, v in results.items() if isinstance(v, float)}


def _rows(of_batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The rows [E, ...] of every example that counts, in order."""
    rows = {name: np.concatenate([b[name] for b in of_batches]) for name in of_batches[0]}
    counts = rows.pop("mask") > 0
    return {name: values[counts] for name, values in rows.items()}


def _added(total: Any, sums: Any) -> Any:
    sums = jax.tree.map(lambda x: np.asarray(jax.device_get(x), np.float64), sums)
    return sums if total is None else jax.tree.map(np.add, total, sums)
