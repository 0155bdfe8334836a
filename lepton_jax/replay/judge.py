"""Compares a span with what a record says of it: to the bit, or within the tolerance.

The tolerance holds where the bits may differ: on another kind of device, with other software, in
another placement (docs/replay.md has what was measured).

    numbers     |a - b| <= 5 % of the larger one, or 0.02
    arrays      |a - b| <= 10 % of the way that the state went in the span, as norms over all arrays
"""

import math
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from lepton_jax.replay.arrays import is_same_array
from lepton_jax.replay.parting import different_arrays, different_numbers
from lepton_jax.replay.replayer import Recomputed
from lepton_jax.replay.spans import Span
from lepton_jax.replay.verdict import Discrepancy, ReplayedSpan
from lepton_jax.tracking.state_chain import StateLink, combine_digests, shorten_digests

OF_NUMBERS = 0.05
SMALLEST = 0.02
"""Differences below this are none, of numbers such as an accuracy on few examples."""
OF_ARRAYS = 0.1


def judge_span(
    span: Span,
    numbers: Mapping[int, Mapping[str, float]],
    links: Mapping[int, StateLink],
    kept: Mapping[str, np.ndarray] | None,
    found: Recomputed,
    *,
    exact: bool,
) -> ReplayedSpan:
    """Compares what a span gave with what the record says of it.

    Args:
      numbers: the rows of the record by step, those that are compared.
      links: the lines of states.jsonl by step, those of the span.
      kept: the arrays of the checkpoint at the end; None where it is not intact.
      exact: whether the bits must be the same.
    """
    apart = 0.0
    differ: list[Discrepancy] = []
    beyond: list[Discrepancy] = []
    for step in sorted({*numbers, *found.numbers}):
        for different in different_numbers(numbers.get(step, {}), found.numbers.get(step, {})):
            text = f"says {different.name} {different.first!r}, computed again {different.second!r}"
            finding = Discrepancy("metrics.jsonl", text, step)
            differ.append(finding)
            apart = max(apart, _relative(different.first, different.second))
            if not _is_near(different.first, different.second):
                beyond.append(finding)
    for step, link in sorted(links.items()):
        if step in found.digests and combine_digests(found.digests[step]) != link.state:
            wrong = different_arrays(link.leaves, shorten_digests(found.digests[step]))
            text = f"says another state than is computed: {len(wrong)} arrays differ, {wrong[:1]}"
            differ.append(Discrepancy("states.jsonl", text, step))
    largest = 0.0
    if kept is not None and found.broke is None:
        wrong = [n for n in {*kept, *found.end} if not is_same_array(kept.get(n), found.end.get(n))]
        if wrong:
            largest = distance(kept, found.end, found.start)
            text = (
                f"is not the state that is computed: {len(wrong)} arrays differ, first "
                f"{min(wrong)}, by {largest:.1e} of the way that the state went"
            )
            finding = Discrepancy(f"checkpoint {span.end}", text, span.end)
            differ.append(finding)
            if not largest <= OF_ARRAYS:
                beyond.append(finding)
    if found.broke is not None:
        text = "cannot be computed to its end: numbers are not finite"
        broke = Discrepancy(str(span), text, found.broke)
        differ.append(broke)
        beyond.append(broke)
    rows = sum(len(numbers[step]) for step in numbers)
    states = len(links.keys() & found.digests.keys()) + (kept is not None)
    chosen = differ if exact else beyond
    chosen.sort(key=lambda f: f.step or 0)
    return ReplayedSpan(span, not differ, tuple(chosen[:1]), rows, states, apart, largest)


def distance(
    kept: Mapping[str, np.ndarray],
    computed: Mapping[str, np.ndarray],
    start: Mapping[str, np.ndarray],
) -> float:
    """Returns the norm of (kept - computed) over that of (computed - start), over all arrays.

    It is infinite where the names or the shapes differ.
    """
    apart = way = 0.0
    for name in {*kept, *computed}:
        a, b, c = kept.get(name), computed.get(name), start.get(name)
        if a is None or b is None or a.shape != b.shape:
            return math.inf
        if not jnp.issubdtype(a.dtype, jnp.inexact):  # counts, the step, the seed
            if not is_same_array(a, b):
                return math.inf
            continue
        x = b.astype(np.float64)
        apart += float(np.sum((a.astype(np.float64) - x) ** 2))
        way += float(np.sum((x - (0 if c is None else c.astype(np.float64))) ** 2))
    if not math.isfinite(apart):
        return math.inf
    return math.sqrt(apart / way) if way else (math.inf if apart else 0.0)


def _relative(a: float | None, b: float | None) -> float:
    """Returns the difference over the larger of two numbers; infinite where one is absent."""
    if a is None or b is None or not math.isfinite(a - b):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def _is_near(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return False
    return abs(a - b) <= max(OF_NUMBERS * max(abs(a), abs(b)), SMALLEST)
