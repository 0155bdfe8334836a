"""Sets, shows and tries the gate of a model's name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax.archive import bundle_folder
from lepton_jax.config.gate_text import RATES
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError, did_you_mean, list_names
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.io.user import login_name
from lepton_jax.registry import history
from lepton_jax.registry.gate.condition import Condition, GateFinding
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.judge import list_conditions, parse_gate
from lepton_jax.registry.gate.measures import check_class
from lepton_jax.registry.gate.of_examples import ExampleBound
from lepton_jax.registry.gate.of_metrics import MetricBound
from lepton_jax.registry.store import Registry
from lepton_jax.registry.verified import Refusal, check_verified
from lepton_jax.registry.version import Version
from lepton_jax.serving import loader


@dataclass(frozen=True)
class Gate:
    """What a version of `model` must reach, beside being verified."""

    model: str
    conditions: tuple[str, ...]
    chances: tuple[str, ...] = ()
    """How often each condition errs, by the examples of `of`; '' where nothing is drawn. Empty
    where the gate was only shown."""
    of: str = ""
    """The version whose examples say it."""

    def as_json(self) -> dict[str, Any]:
        chances = dict(zip(self.conditions, self.chances, strict=False))
        return {
            "model": self.model,
            "conditions": list(self.conditions),
            **({"error_rates": chances, "error_rates_of": self.of} if self.of else {}),
        }

    def __str__(self) -> str:
        asked = ", ".join(("verified", *self.conditions))
        lines = [f"gate of {self.model}: {asked}"]
        said = [(c, s) for c, s in zip(self.conditions, self.chances, strict=False) if s]
        if said:
            lines.append(f"how often chance decides, by the examples of {self.of}:")
            lines += [f"  {condition}: {chance}" for condition, chance in said]
        following = format_command("promote", model=self.model, to="staging")
        return "\n".join([*lines, f"next: {following}"])


@dataclass(frozen=True)
class TriedGate:
    """What a gate would say of a bundle. Nothing is changed by trying."""

    model: str
    bundle: str
    findings: tuple[GateFinding, ...]
    chances: tuple[str, ...]
    refusal: Refusal | None = None
    """Why the bundle is refused before any condition is looked at."""

    @property
    def ok(self) -> bool:
        return self.refusal is None and all(f.met for f in self.findings)

    def as_json(self) -> dict[str, Any]:
        findings = [
            {**f.as_json(), "error_rates": chance}
            for f, chance in zip(self.findings, self.chances, strict=True)
        ]
        refusal = str(self.refusal) if self.refusal else None
        return {
            "model": self.model, "bundle": self.bundle, "ok": self.ok, "refusal": refusal,
            "findings": findings,
        }  # fmt: skip

    def __str__(self) -> str:
        said = "meets" if self.ok else "does NOT meet"
        lines = [f"{self.bundle} {said} the gate of {self.model} (tried: nothing has changed)"]
        if self.refusal:
            lines.append(f"  REFUSED {self.refusal}")
        for finding, chance in zip(self.findings, self.chances, strict=True):
            lines.append(str(finding))
            lines += [f"          chance: {chance}"] if chance else []
        return "\n".join(lines)


def collect_evidence(registry: Registry, version: Version, folder: Path) -> Evidence:
    """Collects what the gate of a version's name looks at."""
    return Evidence(folder, version.name, lambda: find_production(registry, version.model))


def find_production(registry: Registry, model: str) -> Evidence | None:
    """Returns the bundle that `production` of a model holds; None where it holds nothing."""
    number = registry.aliases(model).get("production")
    if number is None:
        return None
    version = registry.version(model, number)
    return Evidence(registry.fetch(version), version.name)


def set_gate(model: str, conditions: Sequence[str] | None = None) -> Gate:
    """Sets the gate of a model's name, or only returns it.

    Args:
      conditions: what a version must meet beside being verified, e.g. `['test/accuracy>=0.98',
        'signed']`. None leaves the gate as it is.

    Raises:
      UserError: when there is no such model, or a condition cannot be read or names a metric or a
        class that no version of the model has.
    """
    parsed = parse_gate(conditions or ())
    registry = Registry()
    registry.check_model(model)
    if conditions is None:
        return Gate(model, registry.gate(model))
    versions = registry.versions(model)
    _check_metrics(model, parsed, versions)
    evidence = _newest_evidence(registry, versions) if parsed else None
    chances: tuple[str, ...] = ()
    if evidence is not None:
        _check_classes(parsed, evidence)
        chances = tuple(condition.chance(evidence) for condition in parsed)
    _decide_gate(registry, model, list(map(str, parsed)))
    return Gate(model, registry.gate(model), chances, evidence.name if evidence else "")


def try_gate(model: str, bundle: str, conditions: Sequence[str] | None = None) -> TriedGate:
    """Says what the gate of a model's name would say of a bundle, and changes nothing.

    Args:
      bundle: a bundle's folder or archive, or 'NAME/VERSION' or 'NAME@ALIAS' in the registry.
      conditions: another gate to try; None: the model's own.

    Raises:
      UserError: when there is no such model, bundle or version, or a condition cannot be read.
    """
    parse_gate(conditions or ())
    registry = Registry()
    registry.check_model(model)
    if os.path.lexists(bundle) or not ("@" in bundle or "/" in bundle or bundle == model):
        folder, name = bundle_folder(bundle), bundle
        version = _registered(registry, model, folder)
    else:
        version = registry.resolve(bundle)
        folder, name = registry.fetch(version, fresh=True), version.name
    given = os.path.lexists(bundle)
    if refusal := check_verified(folder, bundle if given else "", own=given):
        return TriedGate(model, name, (), (), refusal)
    if version is not None:
        evidence = collect_evidence(registry, version, folder)
    else:
        evidence = Evidence(folder, name, lambda: find_production(registry, model))
    gate = registry.gate(model) if conditions is None else conditions
    asked = list_conditions(gate, evidence)
    findings = tuple(condition.judge(evidence) for condition in asked)
    return TriedGate(model, name, findings, tuple(c.chance(evidence) for c in asked))


def _newest_evidence(registry: Registry, versions: Sequence[Version]) -> Evidence | None:
    """Returns the newest version as a gate sees it; None where its copy is damaged."""
    try:
        return collect_evidence(registry, versions[-1], registry.fetch(versions[-1]))
    except (IndexError, WorkError):
        return None


def _registered(registry: Registry, model: str, folder: Path) -> Version | None:
    """Finds the version of a model that is the bundle in a folder."""
    try:
        identity = loader.bundle_id(folder)
    except loader.BundleError:
        return None
    return next((v for v in registry.versions(model) if v.id == identity), None)


def _check_metrics(
    model: str, conditions: Sequence[Condition], versions: Sequence[Version]
) -> None:
    stated = sorted({name for v in versions for name in v.metrics})
    for condition in conditions:
        if isinstance(condition, MetricBound) and condition.metric not in stated:
            raise UserError(
                f"gate '{condition}': no version of {model} states {condition.metric!r}"
                f"{did_you_mean(condition.metric, stated)}; they state: "
                f"{list_names(stated) or 'none'}"
            )


def _check_classes(conditions: Sequence[Condition], evidence: Evidence) -> None:
    for condition in conditions:
        if isinstance(condition, ExampleBound) and condition.measure.name in RATES:
            check_class(condition.measure.name, condition.measure.of, evidence.classes)


def _decide_gate(registry: Registry, model: str, wanted: list[str]) -> None:
    try:
        unchanged = tuple(wanted) == registry.gate(model)
    except WorkError:  # it is damaged, and set anew
        unchanged = False
    if not unchanged:
        event = {"action": "gate", "gate": wanted, "time": utc_timestamp(), "by": login_name()}
        history.decide(registry, model, event)
