"""A decision on a model, and all of them, as people read them."""

from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.console import format_command
from lepton_jax.registry import history
from lepton_jax.registry.gate.condition import GateFinding
from lepton_jax.registry.verified import Refusal


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
    refusals: tuple[Refusal, ...]
    time: str
    by: str = ""
    """Who decided it."""
    evidence: tuple[GateFinding, ...] = ()
    """What each condition of the gate found out."""
    reason: str = ""
    """Why it was promoted all the same; '' where the gate was met."""
    overruled: tuple[Refusal, ...] = ()
    """What was overruled."""

    def as_json(self) -> dict[str, Any]:
        # What a condition said that is not met is among the refusals: a server's tags are short.
        found = [
            {"condition": f.condition, "met": f.met, "said": f.said if f.met else ""}
            for f in self.evidence
        ]
        return asdict(self) | {"evidence": found}

    def __str__(self) -> str:
        name = f"{self.model}/{self.version}" if self.version else self.id
        if not self.ok:
            reasons = "\n".join(f"  {r}" for r in self.refusals)
            return f"REFUSED: {name} is not promoted to {self.alias}:\n{reasons}"
        reference = f"{self.model}@{self.alias}"
        was = f"was version {self.previous}" if self.previous else "which was not set"
        if self.previous == self.version:
            was = "as it did before"
        then = format_command("predict", model=reference, examples=8)
        if self.alias == "production":
            then = format_command("serve", model=reference)
        return f"{reference} now points to {name} ({was}){self._met()}\n{self.id}\nnext: {then}"

    def _met(self) -> str:
        if self.action != "promote":
            return ""
        if self.reason:
            overruled = "\n".join(f"  {r.kind}: {r.what}" for r in self.overruled)
            return f"; FORCED by {self.by}: {self.reason}; it overruled\n{overruled}"
        asked = ", ".join(f.condition for f in self.evidence)
        return f"; gate met: {asked}" if asked else "; gate: verified"


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
