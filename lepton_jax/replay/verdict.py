"""What a replay finds, and how it is said."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.io import files
from lepton_jax.replay.spans import Span


@dataclass(frozen=True)
class Discrepancy:
    """Something in a record that is not what the run left, or not what its config computes."""

    what: str
    """The file or the thing: 'metrics.jsonl', 'checkpoint 40', 'config.json', 'data' ..."""
    text: str
    """What is wrong with it, as the rest of a sentence."""
    step: int | None = None
    """The first step that differs; None where the finding is of no step."""

    def __str__(self) -> str:
        at = "" if self.step is None else f" (first at step {self.step:,})"
        return f"{self.what} {self.text}{at}"


@dataclass(frozen=True)
class ReplayedSpan:
    """A span that was computed again."""

    span: Span
    equal: bool
    """Whether all of it is the same to the bit."""
    findings: tuple[Discrepancy, ...]
    """What differs by more than is allowed here."""
    rows: int
    """Numbers of metrics.jsonl that were compared."""
    states: int
    """States that were compared: by their digests, and the checkpoint at the end."""
    apart: float = 0.0
    """The largest difference of two numbers, over the larger one."""
    arrays_apart: float = 0.0
    """The difference of the end's arrays, over the way that they went in the span."""
    skipped: str = ""
    """Why it could not be computed; '' where it was."""

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.span}: not computed, as {self.skipped}"
        compared = f"{self.rows:,} numbers and {self.states:,} state{'s' * (self.states != 1)}"
        if self.equal:
            return f"{self.span}: {compared}, the same to the bit"
        if not self.findings:
            largest = f"numbers by {self.apart:.1e}, arrays by {self.arrays_apart:.1e}"
            return f"{self.span}: {compared}, within the tolerance ({largest})"
        return f"{self.span}: {compared}, DIFFERENT"


@dataclass(frozen=True)
class ReplayVerdict:
    """Whether a record is what its config, seed and data compute, as far as that was looked at."""

    workdir: str
    seed: int
    """What the spans were drawn by."""
    all_spans: int
    spans: tuple[ReplayedSpan, ...]
    elsewhere: tuple[str, ...]
    """What is not here as it was when the run was computed; () demands equal bits."""
    findings: tuple[Discrepancy, ...]
    """What is wrong with the record; that of the spans is among it."""
    notes: tuple[str, ...]
    draws: int
    """How many were drawn; 0 where `steps` says which spans are computed."""
    steps: str = ""
    """The steps whose spans were computed, '0:1500'; '' where spans were drawn."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found, and something was computed."""
        return not self.findings and any(not s.skipped for s in self.spans)

    @property
    def equal(self) -> bool:
        """Whether all that was computed is the same to the bit."""
        return all(s.equal for s in self.spans if not s.skipped)

    @property
    def first_step(self) -> int | None:
        """The first step that differs, of all findings."""
        return min((f.step for f in self.findings if f.step is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """Returns the verdict, what was compared and what was found."""
        spans = [
            {"start": s.span.start, "end": s.span.end}
            | {k: v for k, v in asdict(s).items() if k not in ("span", "findings")}
            for s in self.spans
        ]
        return files.replace_non_finite(
            {
                **{"workdir": self.workdir, "ok": self.ok, "first_step": self.first_step},
                **{"findings": [asdict(f) for f in self.findings], "spans": spans},
                **{"all_spans": self.all_spans, "draws": self.draws, "seed": self.seed},
                **{"compared": "bits" if self.equal or not self.elsewhere else "tolerance"},
                **{"elsewhere": list(self.elsewhere), "notes": list(self.notes)},
                **({"steps": self.steps} if self.steps else {}),
            }
        )

    def __str__(self) -> str:
        lines = [f"Replay of {self.workdir}, {self._drawn()}:"]
        lines += [f"  {span}" for span in self.spans]
        if self.elsewhere and not self.equal:
            lines.append("The bits may differ here, so the tolerance holds:")
            lines += [f"  {change}" for change in self.elsewhere]
        lines += [f"note: {note}" for note in self.notes]
        lines += _numbered(self.findings)
        if self.ok:
            lines.append(self._strength())
        elif not self.findings:
            lines.append("Nothing could be computed again, so nothing is proved.")
        return "\n".join(lines)

    __repr__ = __str__

    def _drawn(self) -> str:
        if len(self.spans) == self.all_spans:
            return "all of it" if self.all_spans != 1 else "all of it, one span"
        spans = f"{len(self.spans)} of {self.all_spans} spans"
        if self.steps:
            return f"{spans} (--steps={self.steps})"
        if len(self.spans) < self.draws:  # several draws lie in one span
            return f"{self.draws} draws that lie in {spans} (--seed={self.seed})"
        return f"{spans} (--seed={self.seed})"

    def _strength(self) -> str:
        if skipped := sum(bool(s.skipped) for s in self.spans):
            return f"It holds where it was computed; {skipped} of the spans could not be."
        if len(self.spans) == self.all_spans:
            return "It holds: every step up to the last checkpoint was computed again."
        if self.steps:
            return "It holds in these spans; of the others nothing was computed."
        found = 1 - (1 - 0.1) ** self.draws
        return (
            f"It holds, as far as it was drawn: a record of which 10 % is false would have been "
            f"found with probability {found:.0%}."
        )


def _numbered(findings: Sequence[Discrepancy]) -> list[str]:
    if not findings:
        return []
    return ["It does NOT hold:", *(f"  {i}. {finding}" for i, finding in enumerate(findings, 1))]
