"""The examples that a bundle holds, with the answers that a verifier compares."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lepton_jax.export.exportable import Exportable

EXAMPLES = 16


def choose_examples(model: Exportable) -> tuple[str, np.ndarray, Mapping[str, Any]]:
    """Returns a split's name, indices of examples spread evenly over it, and its columns.

    It is the test split, or the training split of data without one. A model whose only input is a
    seed needs no data: there is no truth to compare its answers with.
    """
    if model.input_fields.keys() == {"seed"}:
        return "", np.arange(EXAMPLES), {"seed": np.arange(EXAMPLES, dtype=np.uint32)}
    name = "test" if "test" in model.splits else "train"
    split = model.splits[name]
    count = min(EXAMPLES, len(split))
    return name, np.linspace(0, len(split) - 1, count).astype(np.int64), split.columns
