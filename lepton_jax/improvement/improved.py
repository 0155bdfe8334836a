"""What became of an attempt to improve the model in production."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lepton_jax.console import format_command
from lepton_jax.improvement.comparison import PairedComparison

Outcome = Literal["stopped", "refused", "registered", "promoted"]


@dataclass(frozen=True)
class ImprovedModel:
    """How far a challenger came on its way to production."""

    model: str
    workdir: str
    outcome: Outcome
    champion: str
    """The id of the bundle that was in production when this began."""
    challenger: str = ""
    """The id of the new bundle; '' before there is one."""
    version: str = ""
    """The challenger's version, 'digits/2'; '' where it is not registered."""
    comparisons: tuple[PairedComparison, ...] = ()
    refusals: tuple[str, ...] = ()
    """Why the challenger does not take the champion's place, and what helps."""
    approver: str = ""
    """Who approved of the promotion."""

    @property
    def ok(self) -> bool:
        return self.outcome != "refused"

    @property
    def stopped(self) -> bool:
        return self.outcome == "stopped"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        again = format_command("improve", workdir=self.workdir)
        if self.outcome == "stopped":
            return f"Stopped in training, all saved.\nnext: {again}"
        lines = list(map(str, self.comparisons))
        if self.outcome == "refused":
            lines.append(f"REFUSED: the challenger does not take the place of {self.model}:")
            lines += [f"  {refusal}" for refusal in self.refusals]
        if self.outcome == "registered":
            approve = format_command("improve", workdir=self.workdir, approver="NAME")
            lines.append(f"{self.version} is registered and meets the gate; nobody approved of it")
            lines.append(f"next: {approve}")
        if self.outcome == "promoted":
            lines.append(f"{self.model}@production is {self.version}, approved by {self.approver}")
            back = format_command("registry rollback", model=self.model, to="production")
            lines.append(f"back: {back}")
        return "\n".join(lines)
