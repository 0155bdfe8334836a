"""Training batches of texts of like lengths, cut to one of few lengths: what is computed on padding
stays small, and a program is compiled for each length and no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.data.fresh import Streamed
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError

_CUT = {
    "tokens": ("length", 0),
    "kinds": ("length", 0),
    "source": ("source_length", 0),
    "target": ("target_length", 1),
}
"""The fields that are cut, by which field says how much of them counts; a target has its begin
besides."""


@dataclass(frozen=True, eq=False)
class Buckets:
    """`lengths`, from short to long, and which of them each example fits: `of` int [N]."""

    lengths: tuple[int, ...]
    of: np.ndarray

    def length(self, index: np.ndarray) -> int:
        """What a batch of these examples can be cut to."""
        return self.lengths[int(self.of[index].max())]


def buckets(train: Columns, lengths: Sequence[int]) -> Buckets:
    """The examples of a training split by the first of `lengths` that they fit.

    Raises:
      UserError: when `lengths` do not ascend, or the data has no texts with lengths, is decoded
        anew every epoch, or has a text that is longer than the last of `lengths`.
    """
    if list(lengths) != sorted({n for n in lengths if n > 0}):
        raise UserError(f"data.buckets = {tuple(lengths)}: expected lengths from short to long")
    if isinstance(train, Streamed):
        raise UserError("data.buckets: lengths are not known beforehand where data.train_decode is")
    fields = train.columns
    counted = [
        np.asarray(fields[counts]).astype(np.int64) - more
        for name, (counts, more) in _CUT.items()
        if name in fields and counts in fields
    ]
    if not counted:
        raise UserError(
            "data.buckets needs texts with lengths (tokens and length, or source and target); "
            f"the data has {', '.join(fields)}"
        )
    longest_N = np.max(counted, axis=0)
    if longest_N.max() > lengths[-1]:
        i = int(longest_N.argmax())
        raise UserError(
            f"data.buckets = {tuple(lengths)}: example {i} of 'train' has {longest_N[i]} tokens; "
            "expected the last to be as long as the longest text"
        )
    return Buckets(tuple(lengths), np.searchsorted(lengths, longest_N))


def cut(batch: Mapping[str, Any], length: int) -> dict[str, Any]:
    """The fields `[B, ...]` of texts, their tokens cut to `length`."""
    return {
        name: field[:, : length + _CUT[name][1]] if name in _CUT else field
        for name, field in batch.items()
    }
