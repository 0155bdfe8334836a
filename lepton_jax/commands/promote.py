"""The command `promote`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.registry.promotion import Decision


@command
def promote(
    *,
    bundle: PathText = "",
    model: str = "",
    to: str = "staging",
    by: str = "",
    force: bool = False,
    reason: str = "",
) -> "Decision":
    """Moves an alias to a version, if it is verified, unchanged and meets the model's gate.

    --model=NAME[/VERSION]          the newest version by default
    --bundle=DIR                    registers it first, if it has no version yet, as `register`
                                    does; or FILE.tar
    --to=staging                    staging, or production, which takes only what staging holds
    --by=NAME                       who decides it, for the history; the user by default
    --force --reason=WHY --by=NAME  passes over the gate and over staging, and is written down so;
                                    a bundle that is not verified or has changed is refused still

    Examples:
      python launch.py promote --model=digits --to=staging
      python launch.py promote --model=digits@staging --to=production
    """
    from lepton_jax.cli.looks import look_for_bundle

    if force != bool(reason) or (force and not by):
        asked = [f"--bundle={bundle}"] * bool(bundle) + [f"--model={model}"] * bool(model)
        raise UserError(
            "promote: --force takes a reason and a name, which the history keeps; expected --force "
            "--reason=WHY --by=NAME",
            try_line=["promote", *asked, f"--to={to}", "--force", "--reason=WHY", "--by=NAME"],
        )
    if bundle:
        look_for_bundle(bundle)
        from lepton_jax.export.verified_here import verify_unless_done

        verify_unless_done(bundle)
    from lepton_jax.registry.promotion import promote_version

    return promote_version(
        bundle=bundle or None, model=model or None, to=to, by=by, force=reason if force else ""
    )
