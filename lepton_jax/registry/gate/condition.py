"""The contract of a condition of a gate, and what a condition finds out about a bundle."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.verified import Refusal


@dataclass(frozen=True)
class GateFinding:
    """What a condition found out about a bundle."""

    condition: str
    said: str
    """What was found, `test/accuracy is 0.9861`."""
    refusal: Refusal | None = None
    """Why the bundle does not meet the condition; None where it does."""

    @property
    def met(self) -> bool:
        return self.refusal is None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}

    def __str__(self) -> str:
        mark = "ok     " if self.met else "REFUSED"
        cure = f"; {self.refusal.cure}" if self.refusal else ""
        return f"  {mark} {self.condition}: {self.said}{cure}"


class Condition(Protocol):
    """One condition of a gate. `str` of it is the text that the registry keeps."""

    def __str__(self) -> str: ...

    def judge(self, evidence: Evidence) -> GateFinding:
        """Finds out whether a bundle meets the condition."""
        ...

    def chance(self, evidence: Evidence) -> str:
        """Says how often chance decides, in a sentence; '' where nothing is drawn by chance."""
        ...


def refuse(condition: Condition, kind: str, what: str, cure: str) -> GateFinding:
    """Returns the finding that a bundle does not meet a condition."""
    return GateFinding(str(condition), what, Refusal(kind, what, cure))
