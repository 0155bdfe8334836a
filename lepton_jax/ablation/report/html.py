"""The report of an experiment: one HTML file that needs no network, and its tables beside it.

The page is `page/report.html` with its style, its script and the data written into it.
"""

import html
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from lepton_jax.ablation.analysis import tables as tabular
from lepton_jax.ablation.analysis.answer import Answer, answer_of, mean_on_valid
from lepton_jax.ablation.analysis.results import Outcome, Results
from lepton_jax.ablation.analysis.statistics import Analysis, Comparison, Interval, analyse, counts
from lepton_jax.ablation.analysis.tables import Table
from lepton_jax.ablation.analysis.units import decimals_of_values, unit_of
from lepton_jax.ablation.question.experiment import shown
from lepton_jax.ablation.report.space import space_of
from lepton_jax.tracking import files

CURVE_POINTS = 80
"""Of a variant's curve; a trial's own is drawn small and has half as many."""

_MARKS = {
    "reproduced": "✓",
    "missed": "✗",
    "better": "▲",
    "worse": "▼",
    "undecided": "○",
    "untested": "·",
}


def write(results: Results, folder: str) -> str:
    """Writes `report.html`, `curves.png` and `tables/*.csv|tex|md|png`; returns the page's path.

    Raises as `files.write_bytes` does.
    """
    from lepton_jax.ablation.report import pictures

    analysis = analyse(results)
    found = tabular.tables(analysis)
    below = files.join_path(folder, "tables")
    files.make_dir(below)
    for table in found:
        files.write_text(files.join_path(below, f"{table.name}.csv"), tabular.csv_of(table))
        files.write_text(files.join_path(below, f"{table.name}.md"), tabular.markdown_of(table))
        files.write_text(files.join_path(below, f"{table.name}.tex"), tabular.latex_of(table))
        files.write_bytes(files.join_path(below, f"{table.name}.png"), pictures.table(table))
    curves = curves_of(results)
    files.write_bytes(
        files.join_path(folder, "curves.png"),
        pictures.curves(curves, results.baseline, f"valid {results.metric}"),
    )
    path = files.join_path(folder, "report.html")
    files.write_text(path, page(analysis, found, curves))
    return path


def page(analysis: Analysis, found: Sequence[Table], curves: dict[str, Any]) -> str:
    """The whole HTML file."""
    results, answer = analysis.results, answer_of(analysis)
    source = resources.files("lepton_jax.ablation.report") / "page"
    # `</script>` in somebody's config must not end ours.
    data = json.dumps(
        files.replace_non_finite(_data(analysis, found, curves)), separators=(",", ":")
    )
    parts = {
        "TITLE": html.escape(results.question),
        "STYLE": (source / "report.css").read_text("utf-8"),
        "SCRIPT": (source / "report.js").read_text("utf-8"),
        "EYEBROW": html.escape(_eyebrow(results)),
        "ANSWER": _answer(answer),
        "DATA": data.replace("<", "\\u003c"),
    }
    # In one pass, so that what is filled in is not searched for more places.
    pieces = (source / "report.html").read_text("utf-8").split("%%")
    return "".join(parts[p] if i % 2 else p for i, p in enumerate(pieces))


def curves_of(results: Results) -> dict[str, Any]:
    """`{variant: {steps, mean, low, high, seeds}}` of the reported trials that finished.

    At the steps that all of them have; low and high are the lowest and the highest of the seeds.
    """
    found = {}
    for variant in results.variants:
        curves = [
            {step: v for step, v in o.curve if math.isfinite(v)}
            for o in results.reported(variant)
            if o.state == "finished" and o.curve
        ]
        if not curves:
            continue
        steps = thinned(sorted(set.intersection(*map(set, curves))), CURVE_POINTS)
        values = [[c[s] for c in curves] for s in steps]
        found[variant] = {
            "steps": steps,
            "mean": [_short(sum(v) / len(v)) for v in values],
            "low": [_short(min(v)) for v in values],
            "high": [_short(max(v)) for v in values],
            "seeds": len(curves),
        }
    return found


def thinned(values: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of them, evenly, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def _data(analysis: Analysis, found: Sequence[Table], curves: dict[str, Any]) -> dict[str, Any]:
    results, unit = analysis.results, unit_of(analysis.results)
    spreads = [s.sd for s in analysis.summaries if s.sd]
    spread = sorted(spreads)[len(spreads) // 2] if spreads else None
    costs = {row["variant"]: row for row in tabular.cost_rows(analysis)}
    comparisons = {c.variant: c for c in analysis.comparisons}
    return {
        "metric": results.metric.replace("_", " "),
        "mode": results.mode,
        "baseline": results.baseline,
        "scale": unit.scale,
        "percent": unit.value,
        "points": unit.difference,
        "decimals": decimals_of_values(results, unit, spread),
        "variants": [
            {
                "name": s.variant,
                "seeds": len(s.values),
                "mean": s.mean,
                "valid": mean_on_valid(results.reported(s.variant)),
                "sd": s.sd,
                "interval": _pair(s.interval),
                "bootstrap": _pair(s.bootstrap),
                "iqm": s.iqm,
                "against": _against(comparisons.get(s.variant)),
                "cost": costs[s.variant],
                "curve": curves.get(s.variant),
            }
            for s in analysis.summaries
        ],
        "trials": [_trial(o) for o in results.outcomes],
        "space": space_of(results),
        "published": tabular.published_rows(analysis),
        "provenance": _flat(results.provenance),
        "tables": [t.name for t in found],
    }


def _against(c: Comparison | None) -> dict[str, Any] | None:
    if c is None:
        return None
    return {
        "difference": c.difference,
        "interval": _pair(c.interval),
        "g": c.effect_size,
        "p": c.p,
        "holm": c.p_corrected,
        "improvement": c.probability_of_improvement,
        "more": c.more_seeds,
        "paired": c.paired,
        "verdict": c.verdict,
    }


def _trial(o: Outcome) -> dict[str, Any]:
    points = thinned([p for p in o.curve if math.isfinite(p[1])], CURVE_POINTS // 2)
    return {
        "variant": o.variant,
        "seed": o.seed,
        "tuning": tabular.listed(o.tuning),
        "state": "not finite" if o.state == "finished" and o.test and not counts(o) else o.state,
        "valid": o.valid,
        "test": o.test,
        "seconds": round(o.device_seconds, 2),
        "changes": [[k, shown(a), shown(b)] for k, (a, b) in o.changes.items()],
        "reason": o.reason,
        "workdir": o.workdir,
        "command": o.command,
        "curve": [[s, _short(v)] for s, v in points],
    }


def _answer(answer: Answer) -> str:
    findings = "\n".join(
        f'<li class="{f.kind}"><span class="mark" aria-hidden="true">{_MARKS[f.kind]}</span>'
        f"<span>{html.escape(f.text)}</span></li>"
        for f in answer.findings
    )
    notes = "\n".join(f"<p>{html.escape(n)}</p>" for n in answer.notes)
    return f'<ul class="findings">\n{findings}\n</ul>\n<div class="notes">\n{notes}\n</div>'


def _eyebrow(results: Results) -> str:
    seeds = len({o.seed for o in results.outcomes})
    counted = {"variant": len(results.variants), "seed": seeds, "trial": len(results.outcomes)}
    return " · ".join(f"{n:,} {word}{'s' if n != 1 else ''}" for word, n in counted.items())


def _flat(value: Any, name: str = "") -> list[list[str]]:
    """`[[dotted name, text]]` of nested mappings; what is empty is left out."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return [row for k, v in value.items() for row in _flat(v, f"{name}.{k}" if name else k)]
    return [] if value in (None, "", [], ()) else [[name, str(value)]]


def _pair(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _short(value: float) -> float:
    return float(f"{value:.5g}")
