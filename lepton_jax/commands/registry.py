"""The command `registry`."""

from collections.abc import Sequence
from dataclasses import replace

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError, choice_error
from lepton_jax.result import Result


@command
def registry(
    inputs: Sequence[str] = (),
    *,
    model: str = "",
    to: str = "",
    by: str = "",
    require: str = "",
    try_: str = "",
    out: PathText = "",
) -> Result:
    """Shows and changes the registry: versions, aliases and gates.

    list                            every model, its versions and aliases
    show --model=NAME               its gate, versions, their metrics and who signed them
    diff NAME/1 NAME@staging        config, data, code and metrics that differ, and examples that
                                    are answered otherwise; --out=FILE.png draws these
    history --model=NAME            every decision and every move of an alias
    rollback --model=NAME --to=...  the alias back to the version it had before; --by=WHO
    gate --model=NAME               what a version must meet to be promoted
    gate --model=NAME --require='test/accuracy>=0.98,recall(each)>=0.9,signed'
    gate --model=NAME --try=BUNDLE  what it says of a bundle or NAME/VERSION; changes nothing

    Examples:
      python launch.py registry list
      python launch.py registry gate --model=digits --try=bundles/digits
    """
    from lepton_jax.config.gate_text import split_conditions
    from lepton_jax.registry import difference, gating, promotion, views

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
            found = difference.diff_versions(rest[0], rest[1])
            if not out:
                return found
            from lepton_jax.export.changed import draw_changed

            folder, title = difference.fetch_version(rest[1]), f"{found.first} -> {found.second}"
            draw_changed(folder, found.changed, title, out)
            return replace(found, drawn=out)
        case "history":
            return promotion.read_history(model)
        case "rollback":
            if not to:
                raise UserError(
                    "registry rollback: --to is missing; expected --to=staging or --to=production",
                    try_line=["registry", "rollback", f"--model={model}", "--to=production"],
                )
            return promotion.roll_back_alias(model, to, by)
    conditions = split_conditions(require) if require else None
    if try_:
        return gating.try_gate(model, try_, conditions)
    return gating.set_gate(model, conditions)
