"""The command `sign`."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText, PositiveInt
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.signing.keys import KeyPair
    from lepton_jax.signing.signer import SignedBundle


@command
def sign(
    *,
    bundle: PathText = "",
    key: PathText = "",
    new_key: PathText = "",
    workdir: PathText = "",
    spans: PositiveInt = 3,
) -> "SignedBundle | KeyPair":
    """Signs a bundle with a private key, or makes a pair of keys.

    --bundle=DIR                    what is signed, or FILE.tar; its id stays as it is
    --key=FILE.pem                  a private key of EC P-256
    --new_key=FILE.pem              makes a private key, and the public one as FILE.pub
    --workdir=DIR                   the run that the bundle is of: it is replayed first, and the
                                    statement of the bundle's making says so
    --spans=3                       spans of the run to draw, as `replay` does

    The signature is `model.sig` in the bundle, in the form of OpenSSF model signing 1.0: the tool
    `model_signing` reads it. `provenance.sig` is a signed statement of the bundle's making, in the
    form of SLSA's provenance: config, data, code, environment, digests and replays.

    Examples:
      python launch.py sign --new_key=keys/alice.pem
      python launch.py sign --bundle=bundles/digits --key=keys/alice.pem
      python launch.py sign --bundle=bundles/digits --key=keys/alice.pem --workdir=runs/digits
    """
    from lepton_jax.cli.looks import look_for_bundle, look_for_run
    from lepton_jax.signing.keys import make_key_pair

    if new_key:
        if bundle or key or workdir:
            raise UserError("sign: --new_key makes a key and signs nothing; give it alone")
        return make_key_pair(new_key)
    if not (bundle and key):
        raise UserError(
            "sign what? give --bundle=DIR and --key=FILE.pem, or --new_key=FILE.pem for a new key"
        )
    look_for_bundle(bundle)
    if workdir:
        look_for_run(workdir)
    from lepton_jax.archive import bundle_folder, write_archive
    from lepton_jax.signing.signer import sign_folder

    folder = bundle_folder(bundle)
    replays = []
    if workdir:
        from lepton_jax.replay.attested import replay_for

        replays = [replay_for(folder, workdir, spans)]
    signed = sign_folder(folder, key, replays)
    if os.path.isdir(bundle):
        return signed
    write_archive(folder, bundle)
    return replace(signed, path=bundle)
