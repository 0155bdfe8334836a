"""The command `watch`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText

if TYPE_CHECKING:
    from lepton_jax.ablation.report.watch import ExperimentStatus


@command
def watch(workdir: PathText) -> "ExperimentStatus":
    """Shows the progress of an experiment: what runs, what ended, the best so far, the time left.

    --workdir=DIR                   as given to `ablate`; on a terminal it keeps looking

    Example:
      python launch.py watch --workdir=runs/mnist1d
    """
    from lepton_jax.ablation.report import watch

    return watch.watch(workdir)
