"""Compares two runs: what they were made from, what they measured, and where their numbers part."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.console import format_command
from lepton_jax.replay.parting import Parting, find_parting
from lepton_jax.tables import TableFormat
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.run_difference import RunDifference, compare_runs
from lepton_jax.training.checkpoint_files import list_steps


@dataclass(frozen=True)
class RunComparison:
    """What differs between two runs, and where their numbers part."""

    difference: RunDifference
    parting: Parting
    exact_line: str = ""
    """The command that names the very step, where that is not named yet and can be computed."""

    def as_json(self) -> dict[str, Any]:
        """Returns what `runs diff` says of the two, and `parting`."""
        return {**self.difference.as_json(), "parting": self.parting.as_json()}

    def __str__(self) -> str:
        if self.difference.format == "json":
            return json.dumps(self.as_json(), indent=2)
        if self.difference.format != "table":  # a file for other programs
            return str(self.difference)
        exact = f"\n  The very step: {self.exact_line}" if self.exact_line else ""
        better = self.difference.last_line()
        last = f"\n\n{better}" if better else ""
        return f"{self.difference.tables()}\n\n{self.parting}{exact}{last}"

    __repr__ = __str__


def compare_workdirs(
    first: str, second: str, *, exact: bool = False, format: TableFormat = "table"
) -> RunComparison:
    """Compares the records in two workdirs. `exact`: as `find_exact_step`.

    Raises:
      UserError: when one of them holds no run.
      WorkError: when a file of a record is damaged.
    """
    a, b = Record.open(first), Record.open(second)
    difference = compare_runs(first, second, format=format)
    parting = find_parting(a, b)
    if exact:
        from lepton_jax.replay.exact import find_exact_step

        return RunComparison(difference, find_exact_step(first, second, parting))
    start = parting.step if parting.state_step is None else parting.state_step
    equal_states = parting.state_step is None and parting.last_state is not None
    if start is not None and not equal_states:
        common = sorted({*list_steps(first)} & {*list_steps(second)})
        parting = _measure(parting, first, second, [s for s in common if s >= start])
    line = ""
    named = parting.step is None or parting.step == (parting.same_until or 0) + 1
    if not named and _has_one_config(a) and _has_one_config(b):
        line = format_command(shlex.join(["compare", first, second, "--exact"]))
    return RunComparison(difference, parting, line)


def _has_one_config(record: Record) -> bool:
    """Tells whether a run was computed with one config: `--longer` and `--stretch` change it."""
    return len({start.get("fingerprint") for start in record.starts()}) == 1


def _measure(parting: Parting, first: str, second: str, steps: Sequence[int]) -> Parting:
    """Adds by how much the arrays differ at the first of `steps` that is intact in both."""
    from lepton_jax.replay.arrays import measure_arrays
    from lepton_jax.training.checkpoints import Checkpoints

    a, b = Checkpoints(first), Checkpoints(second)
    step = next((s for s in steps if not a.damage(s) and not b.damage(s)), None)
    if step is None:
        return parting
    found = {x.name: x for x in measure_arrays(a.arrays(step, "state."), b.arrays(step, "state."))}
    if parting.last_state is None and found:  # no digests: the checkpoints say which arrays differ
        return dataclasses.replace(
            parting, state_step=step, arrays=tuple(found.values()), measured_at=step
        )
    arrays = tuple(found.get(x.name, x) for x in parting.arrays)
    return dataclasses.replace(parting, arrays=arrays, measured_at=step)
