"""Legs: the parts of a span that one start of a run computed, or several in the same placement."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lepton_jax.replay.spans import Span

Start = Mapping[str, Any]
"""What provenance.json says of a start, with its `step`."""


class Leg(NamedTuple):
    """The steps after `start` up to `end`, which were computed in one placement."""

    start: int
    end: int
    placement: Mapping[str, Any] | None
    """As `Placement.as_json`; None where the record does not say it."""


def starts_of_span(starts: Sequence[Start], span: Span) -> list[Start]:
    """Lists those starts of a run that computed a part of a span, in their order."""
    kept = [
        start
        for i, start in enumerate(starts)
        if all(later["step"] > start["step"] for later in starts[i + 1 :])  # else it was undone
    ]
    begun = [start for start in kept if start["step"] < span.end]
    return [
        s for i, s in enumerate(begun) if i + 1 == len(begun) or begun[i + 1]["step"] > span.start
    ]


def list_legs(starts: Sequence[Start], span: Span) -> list[Leg]:
    """Splits a span at the steps where the run went on in another placement."""
    legs: list[Leg] = []
    for start in starts_of_span(starts, span):
        placement = start.get("placement")
        if not legs:
            legs = [Leg(span.start, span.end, placement)]
        elif placement != legs[-1].placement:
            legs[-1] = legs[-1]._replace(end=start["step"])
            legs.append(Leg(start["step"], span.end, placement))
    return legs or [Leg(span.start, span.end, None)]
