"""Which batch sizes give equal bytes: within them an answer does not depend on who else asked.

A program may add up in another order where a batch is larger. Which sizes are computed alike is
found by running them, on the machine that answers.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
"""A batch of inputs or outputs by name, [B, ...] each."""

SIZES = (1, 2, 4, 8, 16, 32)
"""The batch sizes that a server computes: few, as some programs are compiled for each."""


def find_exact_sizes(
    compute: Callable[[Arrays], Arrays], rows: Arrays, sizes: Sequence[int] = SIZES
) -> list[int]:
    """Finds the most sizes of which every answer has equal bytes, whatever lies beside it.

    Args:
      compute: answers to a batch of any of `sizes`.
      rows: a few inputs [E, ...], which are answered at other places of each size.

    Returns:
      Sizes in order; of two groups of as many sizes the one with larger batches. A single one
      where no two sizes agree.
    """
    groups: dict[bytes, list[int]] = {}
    count = len(next(iter(rows.values())))
    for size in sizes:
        groups.setdefault(_digest_answers(compute, rows, count, size), []).append(size)
    return max(groups.values(), key=lambda group: (len(group), group[-1]))


def _digest_answers(
    compute: Callable[[Arrays], Arrays], rows: Arrays, count: int, size: int
) -> bytes:
    """Returns the bytes of the answers to all rows, computed in batches of one size.

    Where two answers to the same row differ, the batch's size stands in for them: then it agrees
    with no other.
    """
    found: dict[int, bytes] = {}
    for order in (range(count), range(count)[::-1]):  # each row at two places, beside two others
        for start in range(0, count, size):
            places = [order[i % count] for i in range(start, start + size)]
            answers = compute({name: x[places] for name, x in rows.items()})
            for i, row in enumerate(places):
                said = b"".join(np.asarray(answers[name][i]).tobytes() for name in sorted(answers))
                if found.setdefault(row, said) != said:
                    return size.to_bytes(4, "big")
    return b"".join(found[row] for row in sorted(found))
