"""What the answers of a model with attention were read from: the first examples of a split."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.data.source import Columns
from lepton_jax.evaluation.program import EvaluatedProgram, State
from lepton_jax.placement.mesh import Placement

SHOWN = 4


@dataclass(frozen=True)
class Alignment:
    """The attention of an answer to its source.

    `source` int [S] and `answer` int [T] are tokens; `weights` [T, S]: how much each token of the
    answer reads of each token of the source. Each row adds up to 1.
    """

    source: np.ndarray
    answer: np.ndarray
    weights: np.ndarray


def align_examples(
    program: EvaluatedProgram, placement: Placement, state: State, columns: Columns | None
) -> list[Alignment]:
    """Answers the first `SHOWN` examples of a split, with the attention to their sources.

    Returns an empty list when there is no split, or when task or model keep no attention. Every
    process of a run must call it, and every process gets all of them.
    """
    if columns is None or not program.inference.aligns:
        return []
    # Evenly over the devices; more than there are examples of a small split show some twice.
    size = -(-SHOWN // placement.shards) * placement.shards
    rows = placement.rows(size)
    batch = columns.rows(rows % len(columns))

    def align(state: State, batch: Any) -> Any:
        return program.inference.aligned(*program.training.variables(state), batch)

    outputs = placement.compile_sums(align)(state, placement.put_rows(batch, rows, size))
    weights, tokens, length = (np.asarray(outputs[k]) for k in ("weights", "tokens", "length"))
    first = columns.rows(np.arange(min(SHOWN, len(columns))))
    return [
        Alignment(source[:s], tokens[i, : length[i]], weights[i, : length[i], :s])
        for i, (source, s) in enumerate(zip(first["source"], first["source_length"], strict=True))
    ]
