"""Moves aliases: decides whether a version may be promoted, records it, takes it back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lepton_jax.archive import bundle_folder
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError, choice_error, did_you_mean, list_names
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.registry import gates, history
from lepton_jax.registry.store import Registry
from lepton_jax.registry.version import Version, check_name
from lepton_jax.serving import loader

ALIASES = ("staging", "production")


@dataclass(frozen=True)
class Decision:
    """Whether an alias was moved, and why not. `version` is None before there is one."""

    ok: bool
    action: str
    model: str
    alias: str
    version: int | None
    id: str
    previous: int | None
    gate: tuple[str, ...]
    refusals: tuple[gates.Refusal, ...]
    time: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        name = f"{self.model}/{self.version}" if self.version else self.id
        if not self.ok:
            reasons = "\n".join(f"  {r}" for r in self.refusals)
            return f"REFUSED: {name} is not promoted to {self.alias}:\n{reasons}"
        reference = f"{self.model}@{self.alias}"
        was = f"was version {self.previous}" if self.previous else "which was not set"
        if self.previous == self.version:
            was = "as it did before"
        met = f"; gate met: {', '.join(self.gate)}" if self.gate else "; gate: verified"
        return (
            f"{reference} now points to {name} ({was})"
            + (met if self.action == "promote" else "")
            + f"\n{self.id}\nnext: {format_command('predict', model=reference, examples=8)}"
        )


@dataclass(frozen=True)
class History:
    """Every decision on a model, oldest first."""

    model: str
    events: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{e['time']}  {history.say_event(e)}" for e in self.events]
        lines = lines or [f"{self.model} has no history yet"]
        following = format_command("registry show", model=self.model)
        return "\n".join([*lines, f"next: {following}"])


@dataclass(frozen=True)
class Gate:
    """What a version of `model` must reach, beside being verified."""

    model: str
    conditions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        asked = ", ".join(("verified", *self.conditions))
        return (
            f"gate of {self.model}: {asked}\n"
            f"next: {format_command('promote', model=self.model, to='staging')}"
        )


def promote_version(
    *, bundle: str | None = None, model: str | None = None, to: str = "staging"
) -> Decision:
    """Points the alias `to` at a bundle or a version, if it meets the gate of the model's name.

    Args:
      bundle: a bundle's folder or archive; it is registered first if it has no version.
      model: the name to register the bundle under, or else what to promote: 'NAME' (its newest
        version), 'NAME/VERSION' or 'NAME@ALIAS'.

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
        registry = Registry()
        model = model or _only_name(registry, bundle, folder)
        check_name(model)
        if refusal := gates.check_verified(folder, bundle):
            return _decide(registry, model, to, None, bundle, [refusal])
        version = registry.add(folder, model)
    # What the registry holds is what will be served: that copy is judged, not the caller's.
    copy = registry.fetch(version, fresh=True)
    refusals = [r for r in [gates.check_verified(copy)] if r]
    if not refusals:
        refusals = gates.find_unmet(registry.gate(version.model), copy)
    return _decide(registry, version.model, to, version, version.id, refusals)


def roll_back_alias(model: str, alias: str = "staging") -> Decision:
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
        stack = history.stack_of(registry.events(model), alias)
        if stack[-1:] != [current]:  # moved by other means than ours
            stack.append(current)
        if len(stack) < 2:
            raise UserError(f"{model}@{alias} has pointed to no other version than {current}")
        version = registry.version(model, stack[-2])
        registry.fetch(version, fresh=True)
        return _move(registry, "rollback", alias, version)


def read_history(model: str) -> History:
    """Reads every promotion, refusal, rollback and change of the gate of a model.

    Raises:
      UserError: when there is no such model.
    """
    return History(model, tuple(Registry().events(model)))


def set_gate(model: str, conditions: Sequence[str] | None = None) -> Gate:
    """Sets the gate of a model's name, or only returns it.

    Args:
      conditions: what a version must meet beside being verified, e.g. `['test/accuracy>=0.98',
        'signed']`. None leaves the gate as it is.

    Raises:
      UserError: when there is no such model, or a condition cannot be read or names a metric that
        no version of the model states.
    """
    parsed = [gates.parse_condition(c) for c in conditions or ()]
    registry = Registry()
    registry.check_model(model)
    if conditions is not None:
        stated = sorted({name for v in registry.versions(model) for name in v.metrics})
        for condition in parsed:
            if condition and condition.metric not in stated:
                there = list_names(stated) or "none"
                raise UserError(
                    f"gate '{condition}': no version of {model} states {condition.metric!r}"
                    f"{did_you_mean(condition.metric, stated)}; they state: {there}"
                )
        _decide_gate(registry, model, [str(condition or gates.SIGNED) for condition in parsed])
    return Gate(model, registry.gate(model))


def _decide_gate(registry: Registry, model: str, wanted: list[str]) -> None:
    try:
        unchanged = tuple(wanted) == registry.gate(model)
    except WorkError:  # it is damaged, and set anew
        unchanged = False
    if not unchanged:
        event = {"action": "gate", "gate": wanted, "time": utc_timestamp()}
        history.decide(registry, model, event)


def _decide(
    registry: Registry,
    model: str,
    alias: str,
    version: Version | None,
    what: str,
    refusals: list[gates.Refusal],
) -> Decision:
    if version is not None and not refusals:
        return _move(registry, "promote", alias, version)
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
    )
    if registered:
        history.decide(registry, model, decision.as_json())
    return decision


def _move(registry: Registry, action: str, alias: str, version: Version) -> Decision:
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
