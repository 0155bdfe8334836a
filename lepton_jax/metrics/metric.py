"""The contract of a metric: what it adds up or gathers over a split, and what it makes of that.

A metric is a class that is called with the names of the data's classes and its own config keys. It
is a sum over examples where it can be (`SummedMetric`); a ranking of all answers, such as average
precision, is not (`GatheredMetric`). Every example of a split counts once, whatever the batch size,
the placement or the number of processes.

What both share is `results`: plain NumPy, called on the host once an evaluation. Numbers among its
results are recorded as a curve; anything else (a dict, a list) goes into results.json alone.
`results` is also called once before the first step, with sums near 1 or rows of zeros, to learn the
names of the numbers that it gives. A metric that fails on these is shown what a fresh model answers
to some examples; an error then ends the run before it began.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from lepton_jax.nn.batch import Batch, Outputs

# B batch, E examples of a split.


@runtime_checkable
class SummedMetric(Protocol):
    """A metric that is a function of sums over the examples::

    class MeanError:
        def __init__(self, classes):
            pass

        def sums(self, outputs, batch):
            error_B = jnp.abs(outputs["target"] - batch["target"])
            mask_B = batch["mask"]
            return {"error": (error_B * mask_B).sum(), "examples": mask_B.sum()}

        def results(self, sums):
            return {"mean_error": float(sums["error"] / sums["examples"])}
    """

    def sums(self, outputs: Outputs, batch: Batch) -> dict[str, Any]:
        """Adds up over the examples of a batch whose `batch["mask"]` is 1; traced.

        `outputs` is what the task's `predict` gives. Returns arrays by name, perhaps in nested
        dicts, that add up over batches: sums, never means.
        """
        ...

    def results(self, sums: Mapping[str, Any]) -> dict[str, Any]:
        """Makes numbers of the sums over a whole split, float64 NumPy arrays."""
        ...


@runtime_checkable
class GatheredMetric(Protocol):
    """A metric of all answers at once::

        class MedianNats:
            def __init__(self, classes):
                pass

            def gathered(self, outputs, batch):
                return {"nats": outputs["nats"]}  # [B]

            def results(self, rows):
                return {"median_nats": float(np.median(rows["nats"]))}

    The rows of a whole split are held in memory: give answers, not images. A metric with `sums` and
    `gathered` gathers.
    """

    def gathered(self, outputs: Outputs, batch: Batch) -> dict[str, jax.Array]:
        """Returns what is wanted of each example, rows `[B, ...]` by name; traced."""
        ...

    def results(self, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Makes numbers of the rows [E, ...] of every example, in order, without padding."""
        ...


Metric = SummedMetric | GatheredMetric
