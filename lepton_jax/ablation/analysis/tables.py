"""The tables of a report."""

from lepton_jax.ablation.analysis.comparison import Analysis
from lepton_jax.ablation.analysis.outcomes import mean_on_valid
from lepton_jax.ablation.analysis.published import compare_with_published
from lepton_jax.ablation.analysis.statistics import Interval
from lepton_jax.ablation.analysis.tunings import describe_values, list_tunings
from lepton_jax.ablation.question.experiment import format_value
from lepton_jax.io.files import replace_non_finite
from lepton_jax.tables import Table, TableRow


def build_tables(analysis: Analysis) -> list[Table]:
    """Makes the tables of a report, without those that have no rows."""
    tables = [
        Table("results", "Results", results_rows(analysis)),
        Table("comparisons", "Against the baseline", comparison_rows(analysis)),
        Table("tuning", "Tuning on valid", tuning_rows(analysis)),
        Table("cost", "Cost", cost_rows(analysis)),
        Table("published", "Against published numbers", published_rows(analysis)),
        Table("trials", "Trials", trial_rows(analysis)),
    ]
    return [t for t in tables if t.rows]


def results_rows(analysis: Analysis) -> list[TableRow]:
    """Makes a row of each variant by itself."""
    return [
        {
            "variant": s.variant,
            f"{analysis.results.unit}s": len(s.values),
            "valid": mean_on_valid(analysis.results.reported(s.variant)),
            "mean": s.mean,
            "sd": s.sd,
            **_ends("t 95 %", s.interval),
            **_ends("bootstrap 95 %", s.bootstrap),
            "IQM": s.iqm,
            **_ends("IQM 95 %", s.iqm_interval),
        }
        for s in analysis.summaries
    ]


def comparison_rows(analysis: Analysis) -> list[TableRow]:
    """Makes a row of each variant against the baseline."""
    return [
        {
            "variant": c.variant,
            f"{analysis.results.unit}s": c.seeds,
            "paired": "yes" if c.paired else "no",
            "difference": c.difference,
            **_ends("95 %", c.interval),
            "Hedges g": c.effect_size,
            "p": c.p,
            "p (Holm)": c.p_corrected,
            "P(improvement)": c.probability_of_improvement,
            **_ends("P 95 %", c.probability_interval),
            "more seeds": c.more_seeds,
            "verdict": c.verdict,
        }
        for c in analysis.comparisons
    ]


def cost_rows(analysis: Analysis) -> list[TableRow]:
    """Makes a row of the device-seconds of each variant's trials, reported or not."""
    outcomes = analysis.results.outcomes
    total = sum(o.device_seconds for o in outcomes)
    rows = []
    for variant in analysis.results.variants:
        seconds = [o.device_seconds for o in outcomes if o.variant == variant]
        rows.append(
            {
                "variant": variant,
                "trials": len(seconds),
                "device-seconds": sum(seconds),
                "a trial": sum(seconds) / len(seconds) if seconds else None,
                "share": sum(seconds) / total if total else None,
            }
        )
    return rows


def published_rows(analysis: Analysis) -> list[TableRow]:
    """Makes a row of each published number."""
    return [
        {
            "variant": r.variant,
            "published": r.published,
            "tolerance": r.tolerance,
            "mean": r.mean,
            "sd": r.sd,
            f"{analysis.results.unit}s": r.seeds,
            "verdict": r.verdict,
            "source": r.source,
        }
        for r in compare_with_published(analysis)
    ]


def trial_rows(analysis: Analysis) -> list[TableRow]:
    """Makes a row of each trial."""
    return [
        {
            "variant": o.variant,
            **({} if o.fold is None else {"fold": o.fold}),
            "seed": o.seed,
            "tuning": describe_values(o.tuning),
            "state": o.state,
            "valid": replace_non_finite(o.valid, by="null"),
            "test": replace_non_finite(o.test, by="null"),
            "device-seconds": o.device_seconds,
            "changes": "; ".join(
                f"{k}: {format_value(a)} to {format_value(b)}"
                for k, (a, b) in o.told_changes.items()
            ),
            "reason": o.reason,
            "workdir": o.workdir,
            "command": o.command,
        }
        for o in analysis.results.outcomes
    ]


def tuning_rows(analysis: Analysis) -> list[TableRow]:
    """Makes a row of each value that was tried for a variant, the chosen one first."""
    return [
        {
            "variant": tuned.variant,
            "values": describe_values(tuned.values),
            "chosen": "" if i else "yes",
            "valid": tuned.mean,
            "sd": tuned.sd,
            f"{analysis.results.unit}s": tuned.count,
        }
        for variant in analysis.results.variants
        for i, tuned in enumerate(list_tunings(analysis.results, variant))
    ]


def _ends(name: str, interval: Interval | None) -> TableRow:
    return {
        f"{name} low": interval.low if interval else None,
        f"{name} high": interval.high if interval else None,
    }
