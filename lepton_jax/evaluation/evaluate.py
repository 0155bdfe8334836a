"""Evaluates a state on a split: every example counted once, the ragged last batch masked."""

import collections
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lepton_jax.data.source import Columns
from lepton_jax.training.layout import Layout
from lepton_jax.training.program import Program
from lepton_jax.training.state import State

IN_FLIGHT = 16


class Evaluator:
    """A compiled evaluation, for splits of any length."""

    def __init__(self, layout: Layout, metrics: Mapping[str, Any]):
        program, place = layout.program, layout.placement
        self._metrics = metrics
        self._batch_size = program.config.batch_size
        self._rows = place.rows(self._batch_size)
        self._put = place.put_rows

        def evaluate(state: State, batch: Any) -> Any:
            return program.evaluate(metrics, state, batch)

        self._sums = place.compile_sums(evaluate)

    def names(self, program: Program) -> list[str]:
        """The names of the numbers that an evaluation gives."""
        spec = program.spec.fields.items()
        batch = {
            name: jax.ShapeDtypeStruct((self._batch_size, *f.shape), f.dtype) for name, f in spec
        }
        batch["mask"] = jax.ShapeDtypeStruct((self._batch_size,), np.float32)
        sums = jax.eval_shape(self._sums, program.abstract_state(), batch)
        return list(scalars(self._results(jax.tree.map(lambda x: np.zeros(x.shape), sums))))

    def __call__(self, state: State, columns: Columns) -> dict[str, Any]:
        """`{'loss': 0.1, 'accuracy': 0.98, 'confusion': [[...]], ...}`.

        Sums are added up in float64 on the host, in the order of the examples.
        """
        total: Any = None
        in_flight: collections.deque[Any] = collections.deque()
        for batch in masked_batches(columns, self._batch_size, self._rows):
            sent = self._put(batch, self._rows, self._batch_size)
            in_flight.append(self._sums(state, sent))
            if len(in_flight) > IN_FLIGHT:
                total = _added(total, in_flight.popleft())
        while in_flight:
            total = _added(total, in_flight.popleft())
        return self._results(total)

    def _results(self, sums: Any) -> dict[str, Any]:
        means: dict[str, Any] = {
            name: float(total / weight) if weight else 0.0
            for name, (total, weight) in sums["means"].items()
        }
        for name, metric in self._metrics.items():
            means |= metric.results(sums["metrics"][name])
        return means


def masked_batches(
    columns: Columns, batch_size: int, rows: np.ndarray
) -> Iterator[dict[str, np.ndarray]]:
    """The examples in order, in batches of one size with a `mask` float32 of 1s and 0s.

    Of each batch the given rows: a process's share.
    """
    for start in range(0, len(columns), batch_size):
        index = start + rows
        mask = (index < len(columns)).astype(np.float32)
        index = np.minimum(index, len(columns) - 1)
        yield {**{name: c[index] for name, c in columns.columns.items()}, "mask": mask}


def scalars(results: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the results, which the record keeps a curve of."""
    return {k: v for k, v in results.items() if isinstance(v, float)}


def _added(total: Any, sums: Any) -> Any:
    sums = jax.tree.map(lambda x: np.asarray(jax.device_get(x), np.float64), sums)
    return sums if total is None else jax.tree.map(np.add, total, sums)
