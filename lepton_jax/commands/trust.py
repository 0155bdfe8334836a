"""The command `trust`."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.errors import UserError, choice_error

if TYPE_CHECKING:
    from lepton_jax.signing.trust import TrustList


@command
def trust(inputs: Sequence[str] = (), *, name: str = "", reason: str = "") -> "TrustList":
    """Shows and changes the public keys whose signatures count on this machine.

    list                            every key, whose it is, and whether it was revoked
    add FILE.pub --name=NAME        trusts a public key; NAME says whose it is
    revoke KEY --reason='...'       ends the trust in a key, by its id or name, for all it signed

    A new key takes the place of an old one in three steps: add the new one, sign again with it,
    revoke the old one. The list is ~/.config/lepton_jax/trusted_keys.json, or another file by
    LEPTON_JAX_TRUST.

    Examples:
      python launch.py trust add keys/alice.pub --name=alice
      python launch.py trust revoke alice --reason='the laptop is lost'
    """
    from lepton_jax.signing.trust import add_key, read_trust_list, revoke_key

    actions = ("list", "add", "revoke")
    action, *rest = inputs or ("list",)
    if action not in actions:
        raise choice_error("trust: no action", action, actions)
    if len(rest) != (action != "list"):
        raise UserError(
            "trust add takes one file, trust revoke one key, trust list nothing; got "
            + " ".join(inputs)
        )
    match action:
        case "add":
            file = os.path.expanduser(rest[0])
            return add_key(file, name or os.path.splitext(os.path.basename(file))[0])
        case "revoke":
            return revoke_key(rest[0], reason)
    return read_trust_list()
