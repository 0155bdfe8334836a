"""The report of an experiment: one HTML file that needs no network, and its tables beside it.

The page is `page/report.html` with its style, its script and the data written into it.
"""

import html
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from lepton_jax.ablation.analysis import tables
from lepton_jax.ablation.analysis.answer import ExperimentAnswer, answer_question
from lepton_jax.ablation.analysis.comparison import Analysis, Comparison, has_result
from lepton_jax.ablation.analysis.metric_unit import decimals_of_values, unit_of
from lepton_jax.ablation.analysis.outcomes import Outcome, Results, mean_on_valid
from lepton_jax.ablation.analysis.statistics import Interval
from lepton_jax.ablation.analysis.tunings import describe_values
from lepton_jax.ablation.question.experiment import format_value
from lepton_jax.ablation.report.curves import (
    CURVE_POINTS,
    band_values,
    choose_looks,
    compose_curves,
    curve_bands,
    order_curves,
    round_value,
    thin_out,
)
from lepton_jax.ablation.report.heat_map import heat_map_data
from lepton_jax.io import files
from lepton_jax.plots.figures import save_figure
from lepton_jax.plots.palette import COLOURS, DARK_COLOURS, DARK_INK, INK
from lepton_jax.plots.scales import fits_log
from lepton_jax.tables import Table, csv_text, latex_text, markdown_text
from lepton_jax.trees import flatten_dict

_MARKS = {
    "reproduced": "✓",
    "missed": "✗",
    "better": "▲",
    "worse": "▼",
    "undecided": "○",
    "untested": "·",
}


def write_report(analysis: Analysis, folder: str) -> str:
    """Writes `report.html`, `curves.png` and `tables/*.csv|md|tex`; returns the page's path.

    Raises:
      UserError, WorkError: as `files.write_bytes` does.
    """
    results = analysis.results
    with_rows = tables.build_tables(analysis)
    below = files.join_path(folder, "tables")
    files.make_dir(below)
    for table in with_rows:
        files.write_text(files.join_path(below, f"{table.name}.csv"), csv_text(table))
        files.write_text(files.join_path(below, f"{table.name}.md"), markdown_text(table))
        files.write_text(files.join_path(below, f"{table.name}.tex"), latex_text(table))
    bands = curve_bands(results)
    names = order_curves(analysis, bands)
    figure = compose_curves(bands, names, choose_looks(results), results.metric)
    save_figure(figure, files.join_path(folder, "curves.png"))
    path = files.join_path(folder, "report.html")
    files.write_text(path, render_page(analysis, with_rows, bands))
    return path


def render_page(analysis: Analysis, with_rows: Sequence[Table], bands: dict[str, Any]) -> str:
    """Fills the page's template with an experiment.

    `with_rows`: the tables that stand beside the page. `bands`: of `curve_bands`.
    """
    results, answer = analysis.results, answer_question(analysis)
    source = resources.files("lepton_jax.ablation.report") / "page"
    # `</script>` in somebody's config must not end ours.
    data = json.dumps(
        files.replace_non_finite(_data(analysis, with_rows, bands)), separators=(",", ":")
    )
    parts = {
        "TITLE": html.escape(results.question),
        "PALETTE": _palette(),
        "STYLE": (source / "report.css").read_text("utf-8"),
        "SCRIPT": (source / "report.js").read_text("utf-8"),
        "EYEBROW": html.escape(_eyebrow(results)),
        "ANSWER": _answer(answer),
        "DATA": data.replace("<", "\\u003c"),
    }
    # In one pass, so that what is filled in is not searched for more places.
    pieces = (source / "report.html").read_text("utf-8").split("%%")
    return "".join(parts[p] if i % 2 else p for i, p in enumerate(pieces))


def _data(analysis: Analysis, with_rows: Sequence[Table], bands: dict[str, Any]) -> dict[str, Any]:
    """Collects what `page/report.js` shows."""
    results, unit = analysis.results, unit_of(analysis.results)
    spreads = [s.sd for s in analysis.summaries if s.sd]
    spread = sorted(spreads)[len(spreads) // 2] if spreads else None
    costs = {row["variant"]: row for row in tables.cost_rows(analysis)}
    comparisons = {c.variant: c for c in analysis.comparisons}
    looks = choose_looks(results)
    return {
        "metric": results.metric.replace("_", " "),
        "mode": results.mode,
        "folds": results.folds,
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
                "curve": bands.get(s.variant),
                "colour": looks[s.variant].colour,
                "dash": " ".join(map(str, looks[s.variant].dash)),
            }
            for s in analysis.summaries
        ],
        "curves": order_curves(analysis, bands),
        "log": fits_log(results.metric, band_values(bands, bands)),
        "trials": [_trial(o) for o in results.outcomes],
        "space": heat_map_data(results),
        "published": tables.published_rows(analysis),
        "provenance": [
            [key, str(value)]
            for key, value in flatten_dict(results.provenance).items()
            if value not in (None, "", [], (), {})
        ],
        "tables": [t.name for t in with_rows],
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
        "fold": o.fold,
        "seed": o.seed,
        "tuning": describe_values(o.tuning),
        "state": "not finite"
        if o.state == "finished" and o.test and not has_result(o)
        else o.state,
        "valid": o.valid,
        "test": o.test,
        "seconds": round(o.device_seconds, 2),
        "changes": [[k, format_value(a), format_value(b)] for k, (a, b) in o.told_changes.items()],
        "reason": o.reason,
        "workdir": o.workdir,
        "command": o.command,
        "curve": [[s, round_value(v)] for s, v in points],
    }


def _palette() -> str:
    """Writes the colours of curves and verdicts as CSS, for light and for dark pages."""

    def block(ink: str, colours: Sequence[str]) -> str:
        curves = " ".join(f"--c{i}: {c};" for i, c in enumerate((ink, *colours)))
        return f":root {{ {curves} --good: {colours[0]}; --bad: {colours[1]}; }}"

    dark = f"@media (prefers-color-scheme: dark) {{ {block(DARK_INK, DARK_COLOURS)} }}"
    return f"{block(INK, COLOURS)}\n{dark}"


def _answer(answer: ExperimentAnswer) -> str:
    """Writes the answer as HTML."""
    findings = "\n".join(
        f'<li class="{f.kind}"><span class="mark" aria-hidden="true">{_MARKS[f.kind]}</span>'
        f"<span>{html.escape(f.text)}</span></li>"
        for f in answer.findings
    )
    notes = "\n".join(f"<p>{html.escape(n)}</p>" for n in answer.notes)
    return f'<ul class="findings">\n{findings}\n</ul>\n<div class="notes">\n{notes}\n</div>'


def _eyebrow(results: Results) -> str:
    """Writes the line above the title: `3 variants · 5 seeds · 15 trials`."""
    seeds = len({o.seed for o in results.outcomes})
    counts = {
        "variant": len(results.variants),
        **({"fold": results.folds} if results.folds else {}),
        "seed": seeds,
        "trial": len(results.outcomes),
    }
    return " · ".join(f"{n:,} {word}{'s' if n != 1 else ''}" for word, n in counts.items())


def _pair(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
