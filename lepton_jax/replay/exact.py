"""The very step at which two runs part: both are computed again between what their records say."""

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lepton_jax.console import format_command, say
from lepton_jax.placement.strategies import simulated_devices
from lepton_jax.replay.arrays import measure_arrays
from lepton_jax.replay.conditions import list_changes
from lepton_jax.replay.inspect_record import RecordAsFound
from lepton_jax.replay.legs import starts_of_span
from lepton_jax.replay.parting import Parting, links_by_step
from lepton_jax.replay.replayer import Recomputed, Replayer
from lepton_jax.replay.spans import Span
from lepton_jax.tracking.provenance import collect_provenance, say_placement
from lepton_jax.tracking.state_chain import combine_digests
from lepton_jax.training.checkpoint_files import list_steps
from lepton_jax.training.runtime import runtime


def find_exact_step(first: str, second: str, parting: Parting) -> Parting:
    """Finds the first step after which the states of two runs differ, and by how much.

    `parting`: where their records part. Both runs are computed again from the last checkpoint that
    both have before that, or from their beginning, in the placements that they had. Where that does
    not give the states that their records have, `parting` is returned as it was, with notes: what
    is computed here is then no fact about the records.

    Raises:
      UserError: when the data of one of them is not at hand.
    """
    if parting.step is None:
        return parting
    same = parting.same_until or 0
    start = max((s for s in {*list_steps(first)} & {*list_steps(second)} if s <= same), default=0)
    say(f"computing steps {start:,} to {parting.step:,} of both again")
    a, b = _Half(first), _Half(second)
    whole = Span(start, parting.step)
    states = range(start + 1, parting.step + 1)
    found_a, found_b = a.compute(whole, states), b.compute(whole, states)
    step = next((s for s in states if found_a.digests.get(s) != found_b.digests.get(s)), None)
    doubts = [*a.doubts(whole, found_a), *b.doubts(whole, found_b)]
    if doubts:
        return dataclasses.replace(
            parting, notes=(*doubts, _say_here(whole, step), *_say_cure(first, second, a, b, whole))
        )
    if step is None:
        return parting
    upto = Span(start, step)
    arrays = measure_arrays(a.compute(upto, ()).end, b.compute(upto, ()).end)
    return dataclasses.replace(
        parting, same_until=step - 1, state_step=step, arrays=arrays, measured_at=step
    )


def _say_here(span: Span, step: int | None) -> str:
    what = f"differ from step {step:,} on" if step else f"are the same up to step {span.end:,}"
    return f"so the very step cannot be named here; on this machine their states {what}"


def _say_cure(first: str, second: str, a: "_Half", b: "_Half", span: Span) -> Iterator[str]:
    """Says by which command the step can be named: with as many simulated devices as it takes."""
    needed = max(a.devices(span), b.devices(span))
    if before := simulated_devices(needed):
        line = format_command(shlex.join(["compare", first, second, "--exact"]))
        yield f"to name the step: {before}{line}"


class _Half:
    """One of two runs, with the program to compute it again."""

    def __init__(self, workdir: str):
        found = RecordAsFound(workdir)
        self._workdir = workdir
        self._links = links_by_step(found.links)
        self._starts = found.starts()
        self._precision = found.config.precision
        with runtime(self._precision):
            self._replayer = Replayer(found.record, found.config)

    def compute(self, span: Span, states: Sequence[int]) -> Recomputed:
        with runtime(self._precision):
            return self._replayer.compute(self._workdir, span, states, starts=self._starts)

    def devices(self, span: Span) -> int:
        """Returns how many CPU devices the run used in a span; 0 where it used others."""
        placements = [start.get("placement") or {} for start in starts_of_span(self._starts, span)]
        return max((p.get("devices", 0) for p in placements if p.get("kind") == "cpu"), default=0)

    def doubts(self, span: Span, found: Recomputed) -> list[str]:
        """Says why what was computed here is not what the run was: its placement cannot be had, or
        a state is not that of its record.
        """
        doubts = []
        changes: list[str] = []
        for start in starts_of_span(self._starts, span):
            placed = self._replayer.place(start.get("placement"))
            here = placed.layout.placement.as_json()
            if placed.lacks:
                was = start.get("placement")
                on = say_placement(was) if was else "other devices"
                doubts.append(
                    f"{self._workdir} was computed on {on}; here it is computed on "
                    f"{say_placement(here)}"
                )
            changes += list_changes(start, self._here(start) | {"placement": here})
        wrong = [
            step
            for step, digests in sorted(found.digests.items())
            if step in self._links and combine_digests(digests) != self._links[step].state
        ]
        if wrong and not doubts:
            why = f" ({'; '.join(dict.fromkeys(changes))})" if changes else ""
            doubts.append(
                f"{self._workdir} computed again gives other states than its record has, first at "
                f"step {wrong[0]:,}{why}"
            )
        return list(dict.fromkeys(doubts))

    def _here(self, start: Mapping[str, Any]) -> dict[str, Any]:
        return {**collect_provenance([]), "components": start.get("components")}
