"""What answers of a model with attention were read from: the first examples of a split."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.data.source import Columns
from lepton_jax.training.layout import Layout
from lepton_jax.training.state import State

SHOWN = 4


@dataclass(frozen=True)
class Alignment:
    """Tokens int [S] of a source and [T] of its answer, and `weights` [T, S]: how much each token
    of the answer reads of each of the source's. Each row adds up to 1.
    """

    source: np.ndarray
    answer: np.ndarray
    weights: np.ndarray


def align_examples(layout: Layout, state: State, columns: Columns | None) -> list[Alignment]:
    """Of the first examples of a split; of none where task or model say no such thing.

    Every process of a run must ask, and every process gets all of them.
    """
    program, place = layout.program, layout.placement
    if columns is None or not program.aligns:
        return []
    # Evenly over the devices; more than there are examples of a small split show some twice.
    size = -(-SHOWN // place.shards) * place.shards
    rows = place.rows(size)
    batch = columns.rows(rows % len(columns))

    def answer(state: State, batch: Any) -> Any:
        return program.aligned(*program.variables(state), batch)

    found = place.compile_sums(answer)(state, place.put_rows(batch, rows, size))
    weights, tokens, length = (np.asarray(found[k]) for k in ("weights", "tokens", "length"))
    first = columns.rows(np.arange(min(SHOWN, len(columns))))
    return [
        Alignment(source[:s], tokens[i, : length[i]], weights[i, : length[i], :s])
        for i, (source, s) in enumerate(zip(first["source"], first["source_length"], strict=True))
    ]
