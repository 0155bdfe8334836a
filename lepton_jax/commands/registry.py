"""The command `registry`."""

from collections.abc import Sequence

from lepton_jax.cli.arguments import command
from lepton_jax.errors import UserError, choice_error
from lepton_jax.result import Result


@command
def registry(
    inputs: Sequence[str] = (), *, model: str = "", to: str = "staging", require: str = ""
) -> Result:
    """Shows and changes the registry: versions, aliases and gates.

    list                            every model, its versions and aliases
    show --model=NAME               its gate, versions, their metrics and who signed them
    diff NAME/1 NAME@staging        what two versions state differently
    history --model=NAME            every decision and every move of an alias
    rollback --model=NAME --to=...  the alias back to the version it had before
    gate --model=NAME               what a version must meet to be promoted
    gate --model=NAME --require='test/accuracy>=0.98,test/loss<=0.1,signed'

    Example:
      python launch.py registry list
    """
    from lepton_jax.registry import promotion, views

    actions = ("list", "show", "diff", "history", "rollback", "gate")
    action, *rest = inputs or ("list",)
    if action not in actions:
        raise choice_error("registry: no action", action, actions)
    if len(rest) == 1 and action != "diff" and not model:
        raise UserError(
            f"registry {action}: unexpected argument {rest[0]!r} (did you mean --model={rest[0]}?)",
            instead=(rest[0], f"--model={rest[0]}"),
        )
    if len(rest) != (2 if action == "diff" else 0):
        raise UserError(
            "registry diff takes two versions, e.g. digits/1 digits@staging; the others"
            f" take --model=NAME; got {' '.join(inputs)}"
        )
    if action not in ("list", "diff") and not model:
        raise UserError(
            f"registry {action}: --model is missing; give --model=NAME",
            try_line=["registry", "list"],
        )
    match action:
        case "list":
            return views.list_models()
        case "show":
            return views.show_model(model)
        case "diff":
            return views.diff_versions(*rest)
        case "history":
            return promotion.read_history(model)
        case "rollback":
            return promotion.roll_back_alias(model, to)
    return promotion.set_gate(model, require.split(",") if require else None)
