"""Which trials of how many run, and when all of them will be done."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lepton_jax.console import cut_text
from lepton_jax.formats import format_clock
from lepton_jax.tracking.progress import OneOfSeveral

LONGEST_NAME = 40
"""Characters of a trial's name in a line of progress."""


class TrialQueue:
    """Trials that run a few at a time, and how long they take."""

    def __init__(self, names: Sequence[str], tunings: Sequence[str] = ()):
        """Takes the names of all trials, in the order in which they run; the time starts now.

        `tunings`: what each has of the values that are tuned, or ''.
        """
        self._tunings = dict(zip(names, tunings, strict=False))
        self._numbers = {name: number for number, name in enumerate(names, 1)}
        self._ended: set[str] = set()
        self._began = time.monotonic()

    @contextmanager
    def running(self, names: Sequence[str]) -> Iterator[OneOfSeveral]:
        """Yields what the progress of these trials says of them; at the end they have ended."""
        now = set(names)

        def left_of_all(left: float) -> float:
            # Trials are taken for equally long. Those that run now count with what is left of them.
            seconds = time.monotonic() - self._began + left
            after = len(self._numbers) - len(self._ended | now)
            return left + after * seconds / max(len(self._ended | now), 1)

        yield OneOfSeveral(self._label(names), left_of_all)
        self.note_ended(names)

    def note_ended(self, names: Sequence[str]) -> None:
        """Notes that these trials have ended."""
        self._ended.update(names)

    def __str__(self) -> str:
        """Says how many have ended and when all will: `36 of 144 trials, all done at 14:32`."""
        ended, total = len(self._ended), len(self._numbers)
        text = f"{ended:,} of {total:,} trials"
        if not 0 < ended < total:
            return text
        left = (time.monotonic() - self._began) * (total - ended) / ended
        return f"{text}, all done {format_clock(left)}"

    def _label(self, names: Sequence[str]) -> str:
        numbers = sorted(self._numbers[name] for name in names)
        if len(numbers) > 1:
            return f"trials {numbers[0]}-{numbers[-1]}/{len(self._numbers)}"
        # The seed and the tuning stand at the end, so that a long name loses its middle.
        name = f"{shorten_name(names[0])} {self._tunings.get(names[0], '')}".rstrip()
        name = cut_text(name, LONGEST_NAME)
        return f"{name} {numbers[0]}/{len(self._numbers)}"


def shorten_name(name: str) -> str:
    """Returns the name of a trial's folder without its digest: variant and seed."""
    return re.sub("-[0-9a-f]{12}$", "", name)
