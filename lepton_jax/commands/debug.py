"""The command `debug`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lepton_jax.debug.scrutiny import Debugged


def debug(workdir: str, step: int) -> "Debugged":
    """Makes one step of a run again and says where its numbers break, or where they grow.

    --workdir=DIR                   a record, as `train` leaves it; only read
    --step=N                        the step, counted from 0: the one that `train` named

    State, batch, modules, loss, gradients and update are looked at in this order. The state comes
    from the newest checkpoint before the step; without one the run is taken from its start.

    Example:
      python launch.py debug --workdir=runs/digits --step=120
    """
    from lepton_jax.debug.scrutiny import debug as scrutinize

    return scrutinize(workdir, step)
