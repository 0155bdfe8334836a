"""The command `debug`."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.console import format_table

if TYPE_CHECKING:
    from lepton_jax.debug.faults import Fault
    from lepton_jax.debug.replay import Snapshot
    from lepton_jax.debug.scrutiny import ModuleOutput


SHOWN = 30
"""Modules that the table lists."""
FIRST = ("loss", "grad_norm", "update_norm", "learning_rate")
"""Numbers of a step that are printed before the others."""


@dataclass(frozen=True)
class Debugged:
    """A step that was made again, and what was seen of it."""

    workdir: str
    snapshot: "Snapshot"
    """The state before the step, and its batch."""
    fault: "Fault | None"
    """What is not finite first."""
    modules: "Sequence[ModuleOutput]"
    cause: str
    """Whether the learning rate is the cause, a sentence; '' where it plays no part."""
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        from lepton_jax.io import files

        return files.replace_non_finite(
            {
                "workdir": self.workdir,
                "step": self.snapshot.step,
                "checkpoint": self.snapshot.checkpoint,
                "finite": self.fault is None,
                "fault": asdict(self.fault) if self.fault else None,
                "means": dict(self.snapshot.means),
                "modules": [asdict(m) for m in self.modules],
                "cause": self.cause,
                "notes": list(self.notes),
            }
        )

    def __str__(self) -> str:
        snapshot, means = self.snapshot, self.snapshot.means
        came = f"checkpoint {snapshot.checkpoint}" if snapshot.checkpoint is not None else ""
        names = [*FIRST, *(k for k in means if k not in FIRST)]
        lines = [
            f"Step {snapshot.step} of {self.workdir}, made again from {came or 'a fresh state'}:",
            "  " + ", ".join(f"{k} {means[k]:.4g}" for k in names if k in means),
            str(
                self.fault or "All of it is finite: state, batch, modules, loss, gradients, update."
            ),
            *([self.cause] if self.cause else []),
            *(f"note: {note}" for note in self.notes),
        ]
        if self.modules:
            lines += [
                "Largest magnitude of each module's output, as they were called:",
                *_table(self.modules),
            ]
        return "\n".join(lines)


@command
def debug(workdir: PathText, step: Annotated[int | None, ">= 0"] = None) -> Debugged:
    """Replays one step of a run and finds its first non-finite value, or where values grow.

    --workdir=DIR                   a record, as `train` leaves it; only read
    --step=N                        the step, counted from 0; by default the one at which the run
                                    failed

    It checks state, batch, modules, loss, gradients and update in this order. The state comes from
    the newest checkpoint before the step; without a checkpoint the run is replayed from its start.

    Example:
      python launch.py debug --workdir=runs/digits --step=120
    """
    from lepton_jax.cli.looks import look_for_run

    look_for_run(workdir)
    step = _failed_step(workdir) if step is None else step
    from lepton_jax.debug.scrutiny import scrutinize_step

    seen = scrutinize_step(workdir, step)
    return Debugged(workdir, seen.snapshot, seen.fault, seen.modules, seen.cause, seen.notes)


def _failed_step(workdir: str) -> int:
    """Returns the step at which a run failed.

    Raises:
      UserError: when it did not fail.
    """
    from lepton_jax.errors import UserError
    from lepton_jax.tracking.record import Record

    status = Record.open(workdir).status()
    if status.get("state") != "failed":
        how = status.get("state", "running or killed")
        raise UserError(
            f"debug: --step is missing, and the run in {workdir} has no step at which it failed "
            f"(it is {how}); give the step to look at, --step=N"
        )
    return status["step"]


def _table(modules: "Sequence[ModuleOutput]") -> list[str]:
    largest = sorted(modules, key=lambda m: -m.largest if m.finite else -math.inf)[:SHOWN]
    rows = [m for m in modules if m in largest]
    cells = [(f"{m.path or '(the whole)'} ({m.kind})", f"{m.largest:10.3g}") for m in rows]
    lines = [f"  {line}" for line in format_table(cells)]
    if len(rows) < len(modules):
        lines.append(f"  ... the {len(rows)} largest of {len(modules)}")
    return lines
