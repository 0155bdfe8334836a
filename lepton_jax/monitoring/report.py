"""What `monitor` found, in words."""

from dataclasses import dataclass
from typing import Any

from lepton_jax.console import format_command
from lepton_jax.serving.drift.causes import Cause


@dataclass(frozen=True)
class DriftReport:
    """Whether the inputs of a model have moved. Not `ok` is an alarm."""

    source: str
    """What was looked at, in words."""
    alarm: bool
    promise: str
    """How often there is a false alarm."""
    lines: tuple[str, ...]
    """What was found, a line each."""
    causes: tuple[Cause, ...]
    found: dict[str, Any]
    """The numbers, for programs."""
    retrain_request: str = ""
    """The file that asks for a retraining; '' where none was written."""

    @property
    def ok(self) -> bool:
        return not self.alarm

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "alarm": self.alarm,
            "promise": self.promise,
            "causes": [c.as_json() for c in self.causes],
            "retrain_request": self.retrain_request or None,
            "found": self.found,
        }

    def __str__(self) -> str:
        head = "The inputs have MOVED" if self.alarm else "The inputs are as they were"
        lines = [f"{head}: {self.source}", *(f"  {line}" for line in self.lines)]
        lines += [f"  likely: {cause}" for cause in self.causes]
        lines.append(self.promise)
        if self.retrain_request:
            line = format_command("improve", request=self.retrain_request, workdir="DIR")
            lines.append(f"A request to train again is in {self.retrain_request}; next: {line}")
        return "\n".join(lines)
