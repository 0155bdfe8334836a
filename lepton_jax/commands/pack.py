"""The command `pack`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.ablation.run.run_pack import PackResult


@command
def pack(folder: PathText) -> "PackResult":
    """Runs one pack of an experiment's trials; `ablate` calls it on whatever machine it chose.

    --folder=W/packs/ID             as `ablate` wrote it

    Example:
      python launch.py pack --folder=runs/mnist1d/packs/0123456789ab-01234567
    """
    from lepton_jax.io import files

    if not files.exists(files.join_path(folder, "pack.json")):
        raise UserError(
            f"{folder} holds no pack (no pack.json){files.name_nearest(folder, 'pack.json')}; "
            "give a folder that `ablate` wrote, WORKDIR/packs/ID"
        )
    from lepton_jax.ablation.run.run_pack import run_pack

    return run_pack(folder)
