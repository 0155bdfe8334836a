"""The report of an experiment: one HTML file that needs no network, and its tables beside it.

The page is `page/report.html` with its style, its script and the data written into it.
"""

import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from lepton_jax.ablation.analysis import tables as tabular
from lepton_jax.ablation.analysis.answer import ExperimentAnswer, answer_question, mean_on_valid
from lepton_jax.ablation.analysis.metric_unit import decimals_of_values, unit_of
from lepton_jax.ablation.analysis.outcomes import Outcome, Results
from lepton_jax.ablation.analysis.statistics import (
    Analysis,
    Comparison,
    Interval,
    analyse,
    has_result,
)
from lepton_jax.ablation.analysis.tables import Table
from lepton_jax.ablation.question.experiment import format_value
from lepton_jax.ablation.report.curves import CURVE_POINTS, curve_bands, round_value, thin_out
from lepton_jax.ablation.report.heat_map import heat_map_data
from lepton_jax.tracking import files
from lepton_jax.trees import flatten_dict

_MARKS = {
    "reproduced": "✓",
    "missed": "✗",
    "better": "▲",
    "worse": "▼",
    "undecided": "○",
    "untested": "·",
}


def write_report(results: Results, folder: str) -> str:
    """Writes `report.html`, `curves.png` and `tables/*.csv|tex|md|png`; returns the page's path.

    Raises as `files.write_bytes` does.
    """
    from lepton_jax.ablation.report import pictures

    analysis = analyse(results)
    found = tabular.build_tables(analysis)
    below = files.join_path(folder, "tables")
    files.make_dir(below)
    for table in found:
        files.write_text(files.join_path(below, f"{table.name}.csv"), tabular.csv_text(table))
        files.write_text(files.join_path(below, f"{table.name}.md"), tabular.markdown_text(table))
        files.write_text(files.join_path(below, f"{table.name}.tex"), tabular.latex_text(table))
        files.write_bytes(files.join_path(below, f"{table.name}.png"), pictures.table(table))
    curves = curve_bands(results)
    files.write_bytes(
        files.join_path(folder, "curves.png"),
        pictures.curves(curves, results.baseline, f"valid {results.metric}"),
    )
    path = files.join_path(folder, "report.html")
    files.write_text(path, render_page(analysis, found, curves))
    return path


def render_page(analysis: Analysis, found: Sequence[Table], curves: dict[str, Any]) -> str:
    """The whole HTML file."""
    results, answer = analysis.results, answer_question(analysis)
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
        "space": heat_map_data(results),
        "published": tabular.published_rows(analysis),
        "provenance": _provenance_rows(results.provenance),
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
    points = thin_out([p for p in o.curve if math.isfinite(p[1])], CURVE_POINTS // 2)
    return {
        "variant": o.variant,
        "seed": o.seed,
        "tuning": tabular.describe_values(o.tuning),
        "state": "not finite"
        if o.state == "finished" and o.test and not has_result(o)
        else o.state,
        "valid": o.valid,
        "test": o.test,
        "seconds": round(o.device_seconds, 2),
        "changes": [[k, format_value(a), format_value(b)] for k, (a, b) in o.changes.items()],
        "reason": o.reason,
        "workdir": o.workdir,
        "command": o.command,
        "curve": [[s, round_value(v)] for s, v in points],
    }


def _answer(answer: ExperimentAnswer) -> str:
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


def _provenance_rows(provenance: Mapping[str, Any]) -> list[list[str]]:
    """Returns `[[dotted name, text]]` of nested mappings, without empty values."""
    leaves = flatten_dict(provenance).items()
    return [[name, str(value)] for name, value in leaves if value not in (None, "", [], (), {})]


def _pair(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
