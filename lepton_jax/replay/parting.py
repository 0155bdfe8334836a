"""Where the numbers of two records part: the first rows and the first arrays that differ."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.io import files
from lepton_jax.tracking.chain import Row
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.state_chain import StateFile, StateLink

SHOWN = 8
"""Numbers and arrays that are printed; --json has all."""


@dataclass(frozen=True)
class DifferentNumber:
    """A number of one step that two records have in common by name only."""

    name: str
    first: float | None
    second: float | None

    def __str__(self) -> str:
        if self.first is None or self.second is None:
            return f"{self.name} {self.first} against {self.second}"
        first, second = format_apart(self.first, self.second)
        return f"{self.name} {first} against {second}"


def format_apart(first: float, second: float) -> tuple[str, str]:
    """Formats two numbers to six digits, or to as many as it takes to tell them apart."""
    for digits in range(6, 17):
        texts = f"{first:.{digits}g}", f"{second:.{digits}g}"
        if texts[0] != texts[1]:
            return texts
    return repr(first), repr(second)


@dataclass(frozen=True)
class DifferentArray:
    """An array of two states that is not the same; None where no checkpoint says by how much."""

    name: str
    largest: float | None = None
    """The largest difference of two elements."""
    relative: float | None = None
    """The norm of the difference over that of the first array."""

    def __str__(self) -> str:
        if self.largest is None or self.relative is None:
            return self.name
        return f"{self.name} by at most {self.largest:.3g} ({self.relative:.1e} of its norm)"


@dataclass(frozen=True)
class Parting:
    """Where two runs part. A step is a number of steps taken.

    The fields are None, or empty, where the records do not say.
    """

    compared: tuple[int, ...]
    """The steps of which both records have numbers or digests."""
    same_until: int | None
    """The last step before they part of which both records say the same."""
    row_step: int | None
    """The first step whose numbers in metrics.jsonl differ."""
    numbers: tuple[DifferentNumber, ...]
    state_step: int | None
    """The first step whose saved states differ."""
    arrays: tuple[DifferentArray, ...]
    """The arrays of those states that differ."""
    last_state: int | None
    """The last step of which both records have a digest of the state."""
    measured_at: int | None = None
    """The step of the checkpoints by which the differences of arrays are measured."""
    notes: tuple[str, ...] = ()
    """Why the very step is not named, though it was looked for."""

    @property
    def step(self) -> int | None:
        """The first step of which the records say different things; None: there is none."""
        steps = [step for step in (self.row_step, self.state_step) if step is not None]
        return min(steps, default=None)

    def as_json(self) -> dict[str, Any]:
        """Returns the fields, with the number of steps that were compared in their place."""
        found = {**asdict(self), "step": self.step, "compared": len(self.compared)}
        return files.replace_non_finite(found)

    def __str__(self) -> str:
        if not self.compared:
            return "numbers: the records have no step in common"
        if self.step is None:
            count, last = len(self.compared), self.compared[-1]
            return f"numbers: the same at all {count:,} steps that both records have, to {last:,}"
        what = "row" if self.row_step == self.step else "state"
        head = f"they differ in their first shared {what}, step {self.step:,}"
        if self.same_until is not None:
            head = f"they part after step {self.same_until:,}, and differ at step {self.step:,}"
        lines = [f"numbers: {head}"]
        if self.row_step is not None:
            lines += _listed(f"row of step {self.row_step:,}", self.numbers)
        if self.state_step is not None:
            head = f"state of step {self.state_step:,}: {len(self.arrays)} arrays differ"
            if self.measured_at not in (None, self.state_step):
                head += f", measured at step {self.measured_at:,}"
            lines += _listed(head, self.arrays)
        elif self.last_state is not None:
            lines.append(f"  the saved states are the same, up to step {self.last_state:,}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def _listed(head: str, items: Sequence[Any]) -> list[str]:
    more = [f"    ... and {len(items) - SHOWN} more"] if len(items) > SHOWN else []
    return [f"  {head}", *(f"    {item}" for item in items[:SHOWN]), *more]


def find_parting(first: Record, second: Record) -> Parting:
    """Finds where two records part, by their rows and by the digests of their states.

    Raises:
      WorkError: when a file of a record is damaged.
    """
    rows_a, rows_b = numbers_by_step(first.rows()), numbers_by_step(second.rows())
    links_a, links_b = (links_by_step(StateFile(r.workdir).links()) for r in (first, second))
    row_steps = sorted(rows_a.keys() & rows_b.keys())
    state_steps = sorted(links_a.keys() & links_b.keys())
    numbers: tuple[DifferentNumber, ...] = ()
    row_step = state_step = None
    for step in row_steps:
        if numbers := different_numbers(rows_a[step], rows_b[step]):
            row_step = step
            break
    for step in state_steps:
        if links_a[step].state != links_b[step].state:
            state_step = step
            break
    compared = tuple(sorted({*row_steps, *state_steps}))
    parted = min((s for s in (row_step, state_step) if s is not None), default=None)
    same = [s for s in compared if parted is not None and s < parted]
    arrays: tuple[DifferentArray, ...] = ()
    if state_step is not None:
        names = different_arrays(links_a[state_step].leaves, links_b[state_step].leaves)
        arrays = tuple(DifferentArray(name) for name in names)
    last = state_steps[-1] if state_steps else None
    until = same[-1] if same else None
    return Parting(compared, until, row_step, numbers, state_step, arrays, last)


def numbers_by_step(rows: Sequence[Row]) -> dict[int, dict[str, float]]:
    """Joins the rows of each step: `{50: {'train/loss': 0.4, 'valid/loss': 0.5}}`."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["step"], {}).update({k: v for k, v in row.items() if k != "step"})
    return found


def links_by_step(links: Sequence[StateLink]) -> dict[int, StateLink]:
    """Returns the lines of states.jsonl by their steps."""
    return {link.step: link for link in links}


def different_numbers(
    a: Mapping[str, float], b: Mapping[str, float]
) -> tuple[DifferentNumber, ...]:
    """Lists the numbers of a step that differ; two NaNs do not."""
    return tuple(
        DifferentNumber(name, a.get(name), b.get(name))
        for name in dict.fromkeys([*a, *b])
        if not (
            a.get(name) == b.get(name)
            or (a.get(name) != a.get(name) and b.get(name) != b.get(name))
        )
    )


def different_arrays(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    """Lists the arrays whose digests differ, or that one of the states lacks."""
    return [name for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
