"""Evaluates a state on a split: every example counted once, the ragged last batch masked."""

import collections
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np

from lepton_jax.console import say
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError
from lepton_jax.evaluation.program import EvaluatedProgram, State
from lepton_jax.evaluation.worst import WorstExamples, list_worst
from lepton_jax.placement.mesh import IN_FLIGHT, BatchPlacement


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

        def evaluate(state: State, batch: Any) -> Any:
            return program.scoring.evaluate(metrics, state, batch)

        self._evaluate = placement.compile_sums(evaluate)

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
        shapes = jax.eval_shape(self._evaluate, program.training.abstract_state(), batch)
        leaves, structure = jax.tree.flatten(shapes["sums"])
        # No two alike, or a variance computed from them would be zero.
        numbers = [np.full(x.shape, 1.0 + 1 / (2 + i)) for i, x in enumerate(leaves)]
        rows = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes["gathered"])
        sums = {**jax.tree.unflatten(structure, numbers), "gathered": [rows]}
        try:
            with np.errstate(all="ignore"):
                results = self.results(sums)
        except UserError:
            raise
        except Exception as e:
            raise UserError(
                f"a metric of task {program.config.task.name} or of `metrics` failed when its "
                "`results` was called with numbers near 1, to learn the names of its values: "
                f"{type(e).__name__}: {e}"
            ) from e
        return tuple(scalar_results(results))

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
            y = of_halves[path]
            if not np.allclose(x, y, rtol=self._tolerance, atol=self._tolerance, equal_nan=True):
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                task = self._program.config.task.name
                raise UserError(
                    f"task {task}: {name} of a whole batch is {np.ravel(x)[0]:.6g}, but the sum "
                    f"over its two masked halves is {np.ravel(y)[0]:.6g}; a task and a metric "
                    "return "
                    "sums over the examples whose mask is 1, and their weight, never means"
                )

    def results(self, sums: Any) -> dict[str, Any]:
        """Makes results of what `sums` returned: a mean is its total over its weight, or 0.0.

        An answer of NaN has no class, though its argmax is 0. So where there is one, every metric
        is NaN, and `not_numbers` counts them.

        Raises:
          UserError: when a metric gives a result called 'loss'.
        """
        results: dict[str, Any] = {
            name: float(total / weight) if weight else 0.0
            for name, (total, weight) in sums["means"].items()
        }
        for name, metric in self._metrics.items():
            batches = [rows[name] for rows in sums["gathered"] if name in rows]
            measured = metric.results(_join_rows(batches) if batches else sums["metrics"][name])
            if "loss" in measured:
                raise UserError(
                    f"metric {name} gives a value called 'loss', the name of the task's loss; "
                    "rename it"
                )
            results |= {key: to_json_value(value) for key, value in measured.items()}
        if count := int(sums.get("not_numbers", 0)):
            results = {name: float("nan") for name in scalar_results(results)}
            results["not_numbers"] = float(count)
        self._tell(results)
        if sums.get("worst"):
            results["worst"] = list_worst(sums["worst"])
        return results

    def _tell(self, results: Mapping[str, Any]) -> None:
        """Says once that an evaluation gave no numbers: such a step is never the best."""
        if self._told or math.isfinite(results.get("loss", 0.0)):
            return
        self._told = True
        count = results.get("not_numbers", 0)
        answers = f", and {count:.0f} of its answers are NaN: its metrics are too" if count else ""
        say(f"warning: the loss of an evaluation is {results['loss']}{answers}")


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


def to_json_value(value: Any) -> Any:
    """Converts a metric's result to what JSON can hold: every number becomes a float."""
    if isinstance(value, int | np.number) and not isinstance(value, bool):
        return float(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def scalar_results(results: Mapping[str, Any]) -> dict[str, float]:
    """Selects the numbers among the results, which the record keeps a curve of."""
    return {k: v for k, v in results.items() if isinstance(v, float)}


def _join_rows(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Joins the rows [E, ...] of the examples whose mask is 1, in order."""
    rows = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    counts = rows.pop("mask") > 0
    return {name: values[counts] for name, values in rows.items()}


def _add(total: Any, sums: Any) -> Any:
    """Adds sums to a total on the host, in float64; `None` stands for an empty total."""
    sums = jax.tree.map(lambda x: np.asarray(jax.device_get(x), np.float64), sums)
    return sums if total is None else jax.tree.map(np.add, total, sums)
