"""The conditions that the config of a run states: they count beside the gate of the registry."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lepton_jax.registry.gate.condition import Condition, GateFinding, refuse
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.grammar import parse_condition
from lepton_jax.serving.loader import BundleError


@dataclass(frozen=True)
class OfConfig:
    """A condition that the bundle brings itself. It can refuse the bundle, and loosens nothing."""

    condition: Condition

    def __str__(self) -> str:
        return f"{self.condition} (of the config)"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Judges by the condition, and says where it comes from."""
        found = self.condition.judge(evidence)
        refusal = found.refusal
        if refusal is not None:
            what = f"{refusal.what} (the config of its run asks for {self.condition})"
            refusal = replace(refusal, what=what)
        return replace(found, condition=str(self), refusal=refusal)

    def chance(self, evidence: Evidence) -> str:
        return self.condition.chance(evidence)


@dataclass(frozen=True)
class Unreadable:
    """What a config states as its gate, and is none: it cannot be met."""

    why: str

    def __str__(self) -> str:
        return "the gate of the config"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Refuses the bundle."""
        what = f"the gate of the config of {evidence.name} cannot be read: {self.why}"
        return refuse(self, "no evidence", what, "train and export it again")

    def chance(self, evidence: Evidence) -> str:
        return ""


def list_of_config(evidence: Evidence, others: Sequence[Condition]) -> list[Condition]:
    """Lists the conditions of a bundle's config, but for those that are among the others."""
    try:
        own = [parse_condition(text) for text in evidence.config_gate]
    except (ValueError, BundleError) as e:
        return [Unreadable(str(e))]
    return [OfConfig(condition) for condition in own if condition not in others]
