"""The command `replay`."""

from typing import TYPE_CHECKING, Annotated

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText, PositiveInt

if TYPE_CHECKING:
    from lepton_jax.replay.verdict import ReplayVerdict


@command
def replay(
    workdir: PathText,
    *,
    spans: PositiveInt = 3,
    seed: Annotated[int | None, ">= 0"] = None,
    steps: str = "",
) -> "ReplayVerdict":
    """Computes spans of a run again, and compares them with its record to the bit.

    --workdir=DIR                   a record, as `train` leaves it, with its checkpoints; only read
    --spans=3                       spans to draw; one is what lies between two checkpoints that the
                                    run kept, or between its beginning and the first of them
    --seed=N                        what they are drawn by; without it they are drawn by chance
    --steps=FIRST:LAST              the spans of these steps instead, all of them: 0:1500

    Rows, digests of states and the checkpoint at the end are compared. On other devices, or with
    other software, small differences are allowed, and what is other is said. A changed row,
    checkpoint, config or data set is named, with the first step that differs. Exit code 1 if the
    record does not hold. checkpoint_milestones keeps more checkpoints, for shorter spans.

    Examples:
      python launch.py replay --workdir=runs/digits
      python launch.py replay --workdir=runs/digits --spans=20 --json
    """
    from lepton_jax.cli.looks import look_for_run

    look_for_run(workdir)
    from lepton_jax.replay.replay import replay_run

    return replay_run(workdir, spans=spans, seed=seed, steps=steps)
