"""The command `pack`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText

if TYPE_CHECKING:
    from lepton_jax.ablation.run.run_pack import PackResult


@command
def pack(folder: PathText) -> "PackResult":
    """Runs one pack of an experiment's trials; `ablate` calls it on whatever machine it chose.

    --folder=W/packs/ID             as `ablate` wrote it

    Example:
      python launch.py pack --folder=runs/mnist1d/packs/0123456789ab-01234567
    """
    from lepton_jax.ablation.run.run_pack import run_pack

    return run_pack(folder)
