"""The command `re-export`."""

import os
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError, WorkError

if TYPE_CHECKING:
    from lepton_jax.export.re_export import ReExportedBundle


@command
def re_export(
    bundle: PathText, out: PathText, *, workdir: PathText = "", replace: bool = False
) -> "ReExportedBundle":
    """Makes a new bundle of an old one by the jax that is installed, and compares their answers.

    --bundle=DIR                    the old one, also as FILE.tar
    --out=DIR                       where the new one goes
    --workdir=DIR                   the run it came from, where its data or its code is only there
    --replace                       puts it in the place of another run's bundle

    A StableHLO program is promised for six months from its export: jax may refuse it later. The
    bundle's config, weights and data make a new one. It is written only if it answers the old
    one's examples as they were answered.

    Examples:
      python launch.py re-export --bundle=bundles/digits --out=bundles/digits-new
    """
    from lepton_jax.cli.looks import look_for_bundle, look_for_run
    from lepton_jax.io import files

    look_for_bundle(bundle)
    if workdir:
        look_for_run(workdir)
    if os.path.realpath(bundle) == os.path.realpath(out):
        raise UserError(f"--out={out} is the old bundle; choose another folder")
    files.check_can_make(os.path.dirname(out) or ".")

    from lepton_jax.export.re_export import re_export_bundle
    from lepton_jax.registry.bundles import read_bundle
    from lepton_jax.serving import loader

    try:
        return re_export_bundle(read_bundle(bundle), out, workdir or None, replace)
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
