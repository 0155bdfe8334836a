"""Spans: the parts of a run between two states that it kept, and which of them are drawn."""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from lepton_jax.errors import UserError


class Span(NamedTuple):
    """The steps after `start` up to `end`; a run's first state is that of step 0."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"steps {self.start:,} to {self.end:,}"


def list_spans(kept: Sequence[int]) -> list[Span]:
    """Lists the spans between the beginning of a run and the steps of its checkpoints."""
    ends = sorted(step for step in kept if step > 0)
    return [Span(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def draw_spans(spans: Sequence[Span], count: int, seed: int) -> list[Span]:
    """Draws `count` steps of a run, all equally likely, and returns the spans that they lie in.

    Each draw is independent of the others, so two of them may lie in one span. Of a run of which a
    share f of the steps lies in false spans, k draws find one with probability 1 - (1 - f)^k.
    All spans are returned where there are no more of them than draws.
    """
    if count >= len(spans):
        return list(spans)
    rng = random.Random(seed)
    total = spans[-1].end
    steps = [rng.randrange(total) for _ in range(count)]
    return [span for span in spans if any(span.start <= step < span.end for step in steps)]


def choose_spans(spans: Sequence[Span], steps: str) -> list[Span]:
    """Returns the spans in which steps of a range lie. `steps`: '0:1500', all after 0 up to 1500.

    Raises:
      UserError: when it is no such range, or no span has a step of it.
    """
    found = re.fullmatch(r"(\d+):(\d+)", steps)
    if not found or not int(found[1]) < int(found[2]):
        raise UserError(f"--steps={steps}: expected FIRST:LAST, such as 0:1500")
    first, last = int(found[1]), int(found[2])
    chosen = [span for span in spans if span.start < last and first < span.end]
    if spans and not chosen:
        raise UserError(
            f"--steps={steps}: the last checkpoint is of step {spans[-1].end:,}, so no later step "
            "can be computed again"
        )
    return chosen
