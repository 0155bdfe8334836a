"""Draws the page of what `DriftWatch.as_json` says."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_WIDTH, _HEIGHT = 220, 34
_REACH = 3.0
"""Standard deviations of the reference that a curve shows up and down."""

_TESTS = {
    "ks": "Kolmogorov-Smirnov, of the statistic that moved most",
    "psi": "population stability index, of the statistic that moved most",
    "chi_squared": "χ² of the classes that were answered",
    "classifier": "a classifier that tells the window from the reference (area under its curve)",
}


def render_drift(models: Sequence[Mapping[str, Any]], examples: Sequence[str]) -> str:
    """Returns the page in HTML.

    Args:
      examples: of each model, as `draw_examples` draws them.
    """
    alarms = sum(bool(m.get("alarm")) for m in models)
    title = f"Drift: {alarms} of {len(models)} moved" if models else "Drift: no request has come"
    body = "\n".join(map(_model, models, examples)) or "<h1>No request has come yet.</h1>"
    page = (Path(__file__).parent / "drift.html").read_text("utf-8")
    parts = {"TITLE": html.escape(title), "MODELS": body}
    # In one pass, so that what is filled in is not searched for more places.
    return "".join(parts[p] if i % 2 else p for i, p in enumerate(page.split("%%")))


def _model(said: Mapping[str, Any], examples: str) -> str:
    of = ", prompts" if said.get("of") == "prompts" else ""
    named = html.escape(f"{said['model']} {said['version']}{of}".strip())
    if not said["watched"]:
        why = html.escape(said["why"])
        return f"<section><p class='eyebrow'>{named}</p><h1>Not watched: {why}</h1></section>"
    promise, reference = said["promise"], said["reference"]
    rate = f"{promise['false_alarms_per_month']:g}"
    lead = (
        f"{said['examples']:,} examples, compared with {reference['examples']:,} held-out ones "
        f"that the bundle keeps as numbers. At most {rate} false alarm a month, on average, "
        "whatever the traffic."
    )
    return (
        f"<section>\n<p class='eyebrow'>{named}</p>\n{_headline(said['alarm'])}\n"
        f"<p class='lead'>{lead}</p>\n{_performance(said['performance'])}\n"
        f"{examples}\n{_statistics(said)}\n{_tests(said)}\n</section>"
    )


def _headline(alarm: Mapping[str, Any] | None) -> str:
    if alarm is None:
        return "<h1 class='calm'>The inputs are as they were.</h1>"
    moved = html.escape(", ".join(alarm["moved"]))
    causes = "".join(
        f"<li>{html.escape(c['name'])} {c['strength']:.3g}: explains {c['explained']:.0%} of how "
        f"the inputs moved{_augmentation(c)}</li>"
        for c in alarm["causes"]
    )
    likely = (
        f"<p>It may be:</p><ul>{causes}</ul>" if causes else "<p>No known change explains it.</p>"
    )
    since, noticed = (_spoken_time(alarm[k]) for k in ("since", "noticed"))
    return (
        f"<h1 class='alarm'>The inputs have moved, since about {since}.</h1>\n"
        f"<p>Most of all: {moved}. Noticed {noticed}, by {html.escape(alarm['by'])}.</p>\n{likely}"
    )


def _augmentation(cause: Mapping[str, Any]) -> str:
    if not cause["transform"]:
        return ""
    arguments = ", ".join(f"{k}={v:g}" for k, v in cause["arguments"].items())
    return f"; training covers it with <code>{html.escape(cause['transform'])}({arguments})</code>"


def _performance(said: Mapping[str, Any] | None) -> str:
    if said is None:
        return ""
    low, high = said["interval"]
    told = ""
    if feedback := said.get("feedback"):
        told = (
            f" Of {feedback['labelled']} answers whose truth was told since the start, "
            f"{feedback['accuracy']:.1%} were right: the estimate is off by {feedback['off']:+.1%}."
        )
    return (
        f"<p>Accuracy without labels: about {said['accuracy']:.1%} ({low:.1%} to {high:.1%}) of "
        f"the last {said['examples']} answers; {said['held_out']:.1%} of the held-out ones. It is "
        "estimated from how sure the answers are, and a model can be sure and wrong of inputs "
        f"unlike any that it has seen.{told}</p>"
    )


def _statistics(said: Mapping[str, Any]) -> str:
    window = {s["name"]: s for s in (said["window"] or {}).get("statistics", [])}
    alarm = said["alarm"] or {}
    rows = sorted(said["statistics"], key=lambda s: -s["evidence"])
    since = _place(said["history"], alarm.get("after"))
    drawn = "".join(_row(s, window.get(s["name"]), alarm.get("moved", ()), since) for s in rows)
    return (
        "<h2>What is watched</h2><p class='lead'>The curve is the mean as time went by; the band "
        f"is one standard deviation of the reference around its mean.{_judged(said)}</p>"
        "<div class='scroll'><table>"
        "<thead><tr><th>statistic</th><th>since the start</th><th class='number'>reference</th>"
        "<th class='number'>last window</th><th class='number'>KS distance</th>"
        "<th class='number'>PSI</th><th class='number'>evidence</th></tr></thead>"
        f"<tbody>{drawn}</tbody></table></div>"
    )


def _judged(said: Mapping[str, Any]) -> str:
    """Says which examples the last window has: later ones are seen by the bets alone."""
    if (window := said["window"]) is None:
        return f" A window is judged once {said['promise']['window']} examples have come."
    last = window["after"]
    return (
        f" The last window has the examples {last - window['examples'] + 1:,} to {last:,}, and was "
        f"judged at {_spoken_time(window['judged'])}; bets look at every example."
    )


def _row(
    said: Mapping[str, Any],
    window: Mapping[str, Any] | None,
    moved: Sequence[str],
    since: float | None,
) -> str:
    marked = said["name"] in moved or bool(window and window["moved"])
    cells = ["-"] * 3
    if window:
        cells = [f"{window['window']:.4g}", f"{window['ks']:.3f}", f"{window['psi']:.3f}"]
    numbers = [f"{said['mean']:.4g}", *cells, f"{said['evidence']:.2g}"]
    shown = "".join(f"<td class='number'>{n}</td>" for n in numbers)
    return (
        f"<tr{' class=moved' if marked else ''}><td>{html.escape(said['name'])}</td>"
        f"<td>{_curve(said, since if marked else None)}</td>{shown}</tr>"
    )


def _curve(said: Mapping[str, Any], since: float | None) -> str:
    """Draws the history of a statistic in deviations of the reference."""
    points = said["history"]
    heights = [
        _HEIGHT / 2
        * (1 - max(-1.0, min(1.0, (x - said["mean"]) / max(said["spread"], 1e-12) / _REACH)))
        for x in points
    ]  # fmt: skip
    step = _WIDTH / max(1, len(points) - 1)
    line = " ".join(f"{i * step:.1f},{y:.1f}" for i, y in enumerate(heights))
    top = _HEIGHT / 2 * (1 - 1 / _REACH)
    onset = ""
    if since is not None:
        x = since * _WIDTH
        onset = f"<line class='onset' x1='{x:.1f}' x2='{x:.1f}' y1='0' y2='{_HEIGHT}'/>"
    name = html.escape(said["name"])
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-label='{name} over time'>"
        f"<rect class='band' y='{top:.1f}' width='{_WIDTH}' height='{_HEIGHT / _REACH:.1f}'/>"
        f"<polyline class='curve' points='{line}'/>{onset}</svg>"
    )


def _place(history: Sequence[Mapping[str, Any]], after: int | None) -> float | None:
    """Returns where on a curve so many examples had come, in [0, 1]."""
    if after is None or len(history) < 2:
        return None
    ends = np.cumsum([point["examples"] for point in history])
    return float(np.interp(after, ends, np.linspace(0, 1, len(ends))))


def _spoken_time(iso: str) -> str:
    """Returns `2026-11-29 14:30:00 UTC` of a time that is told to programs."""
    return html.escape(iso.replace("T", " ").replace("+00:00", " UTC"))


def _tests(said: Mapping[str, Any]) -> str:
    bets, window = said["bets"], said["window"]
    rows = [
        ("bets, after every example", f"{bets['most']:.3g}", "1", "", bets["alarm"]),
    ]
    for test in (window or {}).get("tests", []):
        threshold = "" if test["threshold"] is None else f"{test['threshold']:.3g}"
        said_of = _TESTS.get(test["test"], test["test"])
        rows.append(
            (said_of, f"{test['distance']:.3g}", threshold, f"{test['p_value']:.2g}", test["alarm"])
        )
    drawn = "".join(
        f"<tr{' class=moved' if alarm else ''}><td>{html.escape(name)}</td>"
        + "".join(f"<td class='number'>{html.escape(n)}</td>" for n in numbers)
        + "</tr>"
        for name, *numbers, alarm in rows
    )
    return (
        "<h2>Tests</h2><div class='scroll'><table><thead><tr><th>test</th>"
        "<th class='number'>found</th><th class='number'>alarm from</th>"
        f"<th class='number'>p-value</th></tr></thead><tbody>{drawn}</tbody></table></div>"
    )
