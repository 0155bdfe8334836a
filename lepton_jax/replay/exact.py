"""The very step at which two runs part: both are computed again between what their records say."""

import dataclasses
from collections.abc import Sequence

from lepton_jax.console import say
from lepton_jax.replay.arrays import measure_arrays
from lepton_jax.replay.inspect_record import RecordAsFound
from lepton_jax.replay.parting import Parting
from lepton_jax.replay.replayer import Recomputed, Replayer
from lepton_jax.replay.spans import Span
from lepton_jax.training.checkpoint_files import list_steps
from lepton_jax.training.runtime import runtime


def find_exact_step(first: str, second: str, parting: Parting) -> Parting:
    """Finds the first step after which the states of two runs differ, and by how much.

    `parting`: where their records part. Both runs are computed again from the last checkpoint that
    both have before that, or from their beginning.

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
    if step is None:
        return parting
    upto = Span(start, step)
    arrays = measure_arrays(a.compute(upto, ()).end, b.compute(upto, ()).end)
    return dataclasses.replace(
        parting, same_until=step - 1, state_step=step, arrays=arrays, measured_at=step
    )


class _Half:
    """One of two runs, with the program to compute it again."""

    def __init__(self, workdir: str):
        found = RecordAsFound(workdir)
        self._workdir = workdir
        self._precision = found.config.precision
        with runtime(self._precision):
            self._replayer = Replayer(found.record, found.config)

    def compute(self, span: Span, states: Sequence[int]) -> Recomputed:
        with runtime(self._precision):
            return self._replayer.compute(self._workdir, span, states, ())
