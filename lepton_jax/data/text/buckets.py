"""Buckets: training batches hold texts of like lengths and are cut to one of a few lengths.

Little is then computed on padding, and a program is compiled for each of these lengths and no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError

_CUT = {
    "tokens": ("length", 0),
    "kinds": ("length", 0),
    "source": ("source_length", 0),
    "target": ("target_length", 1),
}
"""For each field that is cut: the field that says how many of its tokens count, and how many tokens
it has more than that. A target begins with its begin, which does not count.
"""


@dataclass(frozen=True, eq=False)
class Buckets:
    """`lengths`, from short to long, and the number of the length that each example fits: `of`
    int [N].
    """

    lengths: tuple[int, ...]
    of: np.ndarray

    def length(self, index: np.ndarray) -> int:
        """Returns the length that a batch of the examples `index` int [B] can be cut to."""
        return self.lengths[int(self.of[index].max())]


def make_buckets(train: Columns, lengths: Sequence[int]) -> Buckets:
    """Sorts the examples of a training split into the first of `lengths` that they fit.

    Raises:
      UserError: when `lengths` do not ascend, or the data has no texts with lengths, is decoded
        anew every epoch, or has a text that is longer than the last of `lengths`.
    """
    if list(lengths) != sorted({n for n in lengths if n > 0}):
        raise UserError(f"data.buckets = {tuple(lengths)}: expected lengths from short to long")
    if train.changes_each_epoch:
        raise UserError(
            "data.buckets needs every length before training, but data.train_decode makes "
            "examples anew in every epoch; use only one of them"
        )
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
            "expected the last length to be at least that of the longest text"
        )
    return Buckets(tuple(lengths), np.searchsorted(lengths, longest_N))


def cut_texts(batch: Mapping[str, Any], length: int) -> dict[str, Any]:
    """Returns the fields `[B, ...]` of a batch, the tokens of its texts cut to `length`."""
    return {
        name: field[:, : length + _CUT[name][1]] if name in _CUT else field
        for name, field in batch.items()
    }
