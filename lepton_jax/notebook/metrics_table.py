"""The rows of a record as one table: a line a step, a column a metric."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_jax.tracking.chain import Row


def make_metrics_table(rows: "Sequence[Row]") -> Any:
    """Returns a pandas DataFrame; where pandas is not installed a dict of its columns `[S]`.

    Column `step` is int. A metric is NaN at the steps at which it was not measured, so that
    `table["valid/loss"]` has a number for every step.
    """
    import numpy as np

    logged = dict.fromkeys(name for row in rows for name in row if name != "step")
    names = sorted(logged, key=lambda name: not name.startswith("train/"))
    at = {step: i for i, step in enumerate(dict.fromkeys(row["step"] for row in rows))}
    columns = {"step": np.array([*at], np.int64)}
    columns |= {name: np.full(len(at), np.nan) for name in names}
    for row in rows:
        for name, value in row.items():
            columns[name][at[row["step"]]] = value
    if importlib.util.find_spec("pandas") is None:
        return columns
    import pandas

    return pandas.DataFrame(columns)
