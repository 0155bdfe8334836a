"""Moves aliases: decides whether a version may be promoted, records it, takes it back."""

from collections.abc import Sequence
from pathlib import Path

from lepton_jax.archive import bundle_folder
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, choice_error
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.io.user import login_name
from lepton_jax.registry import history
from lepton_jax.registry.decision import Decision, History
from lepton_jax.registry.gate.condition import GateFinding
from lepton_jax.registry.gate.judge import judge_by_gate
from lepton_jax.registry.gating import collect_evidence
from lepton_jax.registry.store import Registry
from lepton_jax.registry.verified import Refusal, check_verified
from lepton_jax.registry.version import Version, check_name
from lepton_jax.serving import loader
from lepton_jax.signing.signer import tidy_bundle

ALIASES = ("staging", "production")


def promote_version(
    *,
    bundle: str | None = None,
    model: str | None = None,
    to: str = "staging",
    by: str = "",
    force: str = "",
) -> Decision:
    """Points the alias `to` at a bundle or a version, if it meets the gate of the model's name.

    `production` takes only the version that `staging` points to.

    Args:
      bundle: a bundle's folder or archive; it is registered first if it has no version.
      model: the name to register the bundle under, or else what to promote: 'NAME' (its newest
        version), 'NAME/VERSION' or 'NAME@ALIAS'.
      by: who decides it; '': the user of this machine.
      force: why the gate and `staging` are passed over; ''. Nothing passes over a bundle that is
        not verified, has changed, or has a signature that is refused.

    Returns:
      The decision. `ok` is False, and `refusals` say why, when the bundle is not verified, has
      changed since, or does not meet the gate.

    Raises:
      UserError: when neither is given, or there is no such bundle, version or alias.
      WorkError: when the registry fails, or its copy is damaged.
    """
    _check_alias(to)
    if bundle is None:
        if model is None:
            raise UserError("promote what? give --bundle=DIR and --model=NAME, or --model=NAME")
        registry = Registry()
        version = registry.resolve(model)
    else:
        folder = bundle_folder(bundle)
        tidy_bundle(folder)
        registry = Registry()
        model = model or _only_name(registry, bundle, folder)
        check_name(model)
        if refusal := check_verified(folder, bundle, own=True):
            return _refuse(registry, model, to, None, bundle, [refusal], by=by)
        version = registry.add(folder, model)
    # What the registry holds is what will be served: that copy is judged, not the caller's.
    copy = registry.fetch(version, fresh=True)
    with (
        registry.alone()
    ):  # what is judged by production and staging is what they are when it moves
        if refusal := check_verified(copy):
            return _refuse(registry, version.model, to, version, version.id, [refusal], by=by)
        found = judge_by_gate(
            registry.gate(version.model), collect_evidence(registry, version, copy)
        )
        refusals = [f.refusal for f in found if f.refusal]
        if to == "production" and (refusal := _check_staging(registry, version)):
            refusals.append(refusal)
        if refusals and not force:
            return _refuse(
                registry, version.model, to, version, version.id, refusals, by=by, found=found
            )
        reason = force if refusals else ""
        return _move(registry, "promote", to, version, by, found, reason, refusals)


def roll_back_alias(model: str, alias: str, by: str = "") -> Decision:
    """Points `alias` back to the version it had before its last promotion.

    The gate is not asked again: what is wanted in an emergency is what worked before.

    Raises:
      UserError: when there is no earlier version.
      WorkError: when the registry's copy of it is damaged.
    """
    _check_alias(alias)
    registry = Registry()
    registry.check_model(model)
    with registry.alone():
        current = registry.aliases(model).get(alias)
        if current is None:
            raise UserError(f"{model} has no alias {alias!r}: there is nothing to roll back")
        events = registry.events(model)
        stack = history.stack_of(events, alias)
        if stack[-1:] != [current]:  # moved by other means than ours
            stack.append(current)
        if len(stack) < 2:
            raise UserError(_say_first(model, alias, current, history.newest_left(events, alias)))
        version = registry.version(model, stack[-2])
        registry.fetch(version, fresh=True)
        return _move(registry, "rollback", alias, version, by)


def read_history(model: str) -> History:
    """Reads every promotion, refusal, rollback and change of the gate of a model.

    Raises:
      UserError: when there is no such model.
    """
    return History(model, tuple(Registry().events(model)))


def _say_first(model: str, alias: str, current: int, left: int | None) -> str:
    """Says that an alias has nothing to go back to, and how to go where it came from."""
    if left is None:
        return f"{model}@{alias} has pointed to no other version than {current}"
    line = format_command("promote", model=f"{model}/{left}", to=alias)
    return (
        f"{model}@{alias} is back at the first version that it had, {current}; it came from "
        f"version {left}. To go there again: {line}"
    )


def _check_staging(registry: Registry, version: Version) -> Refusal | None:
    """Checks that `staging` points to a version, or that `production` does already."""
    aliases = registry.aliases(version.model)
    if version.version in (aliases.get("staging"), aliases.get("production")):
        return None
    there = (
        f"points to {version.model}/{aliases['staging']}" if "staging" in aliases else "is not set"
    )
    what = f"{version.model}@staging {there}; production takes only the version that staging holds"
    cure = f"run: {format_command('promote', model=version.name, to='staging')}"
    return Refusal("not in staging", what, cure)


def _refuse(
    registry: Registry,
    model: str,
    alias: str,
    version: Version | None,
    what: str,
    refusals: Sequence[Refusal],
    *,
    by: str,
    found: Sequence[GateFinding] = (),
) -> Decision:
    """Records that a bundle was refused, where there is a model of the name."""
    registered = model in registry.models()
    decision = Decision(
        ok=False,
        action="refuse",
        model=model,
        alias=alias,
        version=version.version if version else None,
        id=what,
        previous=registry.aliases(model).get(alias) if registered else None,
        gate=registry.gate(model) if registered else (),
        refusals=tuple(refusals),
        time=utc_timestamp(),
        by=by or login_name(),
        evidence=tuple(found),
    )
    if registered:
        history.decide(registry, model, decision.as_json())
    return decision


def _move(
    registry: Registry,
    action: str,
    alias: str,
    version: Version,
    by: str,
    found: Sequence[GateFinding] = (),
    reason: str = "",
    overruled: Sequence[Refusal] = (),
) -> Decision:
    """Decides that an alias points to a version, and carries it out."""
    with registry.alone():
        previous = registry.aliases(version.model).get(alias)
        decision = Decision(
            ok=True,
            action=action,
            model=version.model,
            alias=alias,
            version=version.version,
            id=version.id,
            previous=previous,
            gate=registry.gate(version.model),
            refusals=(),
            time=utc_timestamp(),
            by=by or login_name(),
            evidence=tuple(found),
            reason=reason,
            overruled=tuple(overruled),
        )
        decided = history.stack_of(registry.events(version.model), alias)[-1:]
        if previous != version.version or decided != [version.version]:
            history.decide(registry, version.model, decision.as_json())
    return decision


def _only_name(registry: Registry, bundle: str, folder: Path) -> str:
    try:
        identity = loader.bundle_id(folder)
    except loader.BundleError as e:
        raise UserError(f"--bundle={bundle}: {e}") from None
    names = {m for m in registry.models() if any(v.id == identity for v in registry.versions(m))}
    if len(names) != 1:
        under = f"registered as {', '.join(sorted(names))}" if names else "not registered yet"
        raise UserError(f"--bundle={bundle} is {under}: give --model=NAME")
    return names.pop()


def _check_alias(alias: str) -> None:
    if alias not in ALIASES:
        raise choice_error("promote: no alias", alias, ALIASES, "--to")
