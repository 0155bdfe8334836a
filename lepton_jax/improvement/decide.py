"""Decides whether a challenger takes the place of the champion, and lets it."""

from collections.abc import Sequence
from dataclasses import replace

from lepton_jax.improvement.comparison import PairedComparison
from lepton_jax.improvement.improved import ImprovedModel
from lepton_jax.improvement.prepare import find_version_in_production
from lepton_jax.registry.gating import try_gate
from lepton_jax.registry.promotion import promote_version
from lepton_jax.registry.store import Registry, register_bundle
from lepton_jax.registry.version import Version
from lepton_jax.serving import loader


def decide_promotion(
    model: str,
    workdir: str,
    champion: str,
    comparisons: Sequence[PairedComparison],
    approver: str,
) -> ImprovedModel:
    """Registers the challenger if it is better, and promotes it if somebody approves of it.

    It must be better than the champion on the new data, and not worse on the old, both beyond
    chance; and it must meet the gate of the model's name.
    """
    bundle = f"{workdir}/bundle"
    challenger = loader.bundle_id(bundle)
    result = ImprovedModel(
        model, workdir, "refused", champion, challenger, comparisons=tuple(comparisons)
    )
    production = find_version_in_production(model)
    if production.id == challenger:
        by = _approver_of(model, production)
        return replace(result, outcome="promoted", version=production.name, approver=by)
    refusals = []
    if production.id != champion:
        refusals.append(
            f"production moved to {production.name} meanwhile; improve that in another workdir"
        )
    for compared in comparisons:
        if compared.data == "new" and not compared.is_better:
            wrong = round(compared.examples * (1 - compared.champion))
            refusals.append(
                "it is not better on the new data beyond chance, of which production has "
                f"{wrong:,} of {compared.examples:,} examples wrong; train it otherwise, or wait "
                "for more feedback, in another workdir"
            )
        if compared.data == "old" and compared.is_worse:
            refusals.append("it is worse on the old data beyond chance; train it otherwise")
    tried = try_gate(model, bundle)
    refusals += [f"gate: {f.refusal}" for f in tried.findings if f.refusal]
    if tried.refusal:
        refusals.append(str(tried.refusal))
    if refusals:
        return replace(result, refusals=tuple(refusals))
    version = register_bundle(bundle, model)
    result = replace(result, outcome="registered", version=version.name)
    if not approver:
        return result
    for alias in ("staging", "production"):
        decision = promote_version(model=version.name, to=alias, by=approver)
        if not decision.ok:
            return replace(result, outcome="refused", refusals=tuple(map(str, decision.refusals)))
    return replace(result, outcome="promoted", approver=approver)


def _approver_of(model: str, version: Version) -> str:
    """Returns who promoted a version to production last."""
    events = [e for e in Registry().events(model) if e.get("alias") == "production"]
    return next((str(e["by"]) for e in reversed(events) if e.get("version") == version.version), "")
