"""Published numbers beside those of an experiment, with a verdict each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lepton_jax.ablation.analysis.comparison import Analysis, is_improvement
from lepton_jax.console import format_table


@dataclass(frozen=True)
class PublishedComparison:
    """A variant's mean over seeds against its published number."""

    variant: str
    published: float
    tolerance: float
    source: str
    mean: float | None
    sd: float | None
    seeds: int
    verdict: Literal["reproduced", "better", "not reproduced", "no result"]

    @property
    def reproduced(self) -> bool:
        """Whether the published number, or a better one, was reached."""
        return self.verdict in ("reproduced", "better")

    def as_json(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return asdict(self)


def compare_with_published(analysis: Analysis) -> list[PublishedComparison]:
    """Compares the means over seeds with the published numbers of an experiment.

    'reproduced': the mean is within the tolerance; 'better': it is beyond the tolerance, to the
    good.
    """
    results = analysis.results
    summaries = {s.variant: s for s in analysis.summaries}
    comparisons = []
    for variant, p in results.published.items():
        s = summaries.get(variant)
        verdict: Literal["reproduced", "better", "not reproduced", "no result"]
        if s is None or s.mean is None:
            mean, sd, seeds, verdict = None, None, 0, "no result"
        else:
            mean, sd, seeds = s.mean, s.sd, len(s.values)
            if abs(mean - p.value) <= p.tolerance * (1 + 1e-9):
                verdict = "reproduced"
            else:
                good = is_improvement(mean - p.value, results.mode)
                verdict = "better" if good else "not reproduced"
        comparisons.append(
            PublishedComparison(variant, p.value, p.tolerance, p.source, mean, sd, seeds, verdict)
        )
    return comparisons


def published_table(verdicts: Sequence[PublishedComparison], over: str = "seeds") -> str:
    """Writes the comparisons as a table for a terminal, in the unit that was published.

    Args:
      over: what the means are over, 'seeds' or 'folds'.
    """
    table = [("variant", "published", "ours", over, "verdict", "source")]
    for v in verdicts:
        spread = "" if v.sd is None else f" (sd {v.sd:.2g})"
        ours = "–" if v.mean is None else f"{v.mean:#.4g}{spread}"
        both = f"{v.published:g} ± {v.tolerance:g}"
        table.append((v.variant, both, ours, str(v.seeds), v.verdict, v.source))
    return "\n".join(format_table(table))
