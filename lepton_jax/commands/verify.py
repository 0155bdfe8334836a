"""The command `verify`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText

if TYPE_CHECKING:
    from lepton_jax.export.verify import BundleVerdict


@command
def verify(
    bundle: PathText, *, workdir: PathText = "", signed: bool = False, robust: bool = False
) -> "BundleVerdict":
    """Proves, in a clean process, that a bundle is whole and computes what it says.

    --bundle=DIR                    as `export` leaves it, or FILE.tar
    --workdir=DIR                   the run it came from, where its data is to be found
    --signed                        demands the signature of a key that `trust list` shows
    --robust                        measures the accuracy on `test` with noise, blur, typos ... as
                                    well, for gates that ask for it: robust(noise,3)>=0.9

    The verdict lies beside the manifest, or beside the archive, and names the bundle's id. Exit
    code 1 if it does not hold. Where you may not write into the bundle, --json prints the verdict.

    A signature is checked before anything else of the bundle is read. One that is wrong, or of a
    key that was revoked, fails without --signed too.

    Examples:
      python launch.py verify --bundle=bundles/digits
      python launch.py verify --bundle=bundles/digits --signed
    """
    from lepton_jax.cli.looks import look_for_bundle, look_for_run

    look_for_bundle(bundle)
    if workdir:
        look_for_run(workdir)
    from lepton_jax.export.verify import verify_bundle

    return verify_bundle(bundle, workdir=workdir or None, signed=signed, robust=robust)
