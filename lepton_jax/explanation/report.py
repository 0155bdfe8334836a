"""The page of explanations: one HTML file that needs no network, with pictures beside it."""

import base64
import html
from collections.abc import Iterator
from importlib import resources

import numpy as np

from lepton_jax.explanation.explained import ExplainedInputs
from lepton_jax.explanation.faithfulness import STEPS, Faithfulness
from lepton_jax.explanation.methods import METHODS
from lepton_jax.explanation.pictures import (
    as_pixels,
    compose_checks,
    compose_tokens,
    describe_answer,
    encode_png,
    lay_over,
    make_tiles,
    scale_map,
)
from lepton_jax.explanation.summary import check_rows, explanation_json
from lepton_jax.io import files
from lepton_jax.plots.figures import save_figure
from lepton_jax.plots.grids import draw_captioned_grid
from lepton_jax.plots.palette import BLUE, COLOURS, DARK_COLOURS, DARK_INK, INK, RUST

_WIDE, _HIGH = 220, 120
"""Pixels of a panel of curves."""


def write_explanation(found: ExplainedInputs, folder: str) -> tuple[str, ...]:
    """Writes `explanation.html`, `explanation.json`, `checks.png`; of images `overlays.png`, of
    texts `tokens.png`.

    Returns the names of the files.

    Raises:
      UserError, WorkError: as `files.write_bytes` does.
    """
    files.make_dir(folder)
    names = ["explanation.html", "explanation.json", "checks.png"]
    page, numbers, checks = (files.join_path(folder, name) for name in names)
    files.write_text(page, render_explanation(found))
    files.write_json(numbers, explanation_json(found))
    save_figure(compose_checks(found.checks), checks)
    if _is_image(found):
        overlays = files.join_path(folder, "overlays.png")
        draw_captioned_grid(make_tiles(found), 1 + len(found.maps), overlays)
        names.append("overlays.png")
    elif found.words:
        save_figure(compose_tokens(found), files.join_path(folder, "tokens.png"))
        names.append("tokens.png")
    return tuple(names)


def render_explanation(found: ExplainedInputs) -> str:
    """Fills the page's template."""
    source = resources.files("lepton_jax.explanation") / "page"
    parts = {
        "TITLE": _text(found.source),
        "PALETTE": _palette(),
        "STYLE": (source / "explanation.css").read_text("utf-8"),
        "EYEBROW": _text(f"{len(found)} answers · {len(found.maps)} methods"),
        "FINDINGS": "\n".join(map(_finding, found.checks.methods.items())),
        "INPUTS": "\n".join(_input(found, i) for i in range(len(found))),
        "CURVES": "\n".join(_panels(found)),
        "CHECKED": _text(f"{found.checks.inputs} of {len(found)} answers"),
        "TABLE": _table(found),
        "AGREEMENT": _agreement(found),
    }
    # In one pass, so that what is filled in is not searched for more places.
    pieces = (source / "explanation.html").read_text("utf-8").split("%%")
    return "".join(parts[p] if i % 2 else p for i, p in enumerate(pieces))


def _finding(item: tuple[str, Faithfulness]) -> str:
    name, found = item
    said = "; ".join(found.faults) or "no check speaks against it"
    kind, mark = ("worse", "✗") if found.faults else ("better", "✓")
    word = "fails: " if found.faults else ""
    return (
        f'<li class="{kind}"><span class="mark" aria-hidden="true">{mark}</span>'
        f"<span><b>{_text(METHODS[name].title)}</b> {word}{_text(said)}</span></li>"
    )


def _input(found: ExplainedInputs, i: int) -> str:
    """Writes one input, its answer, and what each method says of it."""
    draw = _picture if _is_image(found) else _tokens if found.parts.of_text else _signal
    right = found.truths[i] in ("", found.labels[i])
    answer = f'<p class="answer{"" if right else " wrong"}">{_text(describe_answer(found, i))}</p>'
    shown = [f"<figure>{_image(as_pixels(found.inputs[i]))}<figcaption>input</figcaption></figure>"]
    shown = shown if _is_image(found) else []
    for name in found.maps:
        fails = found.checks.methods[name].faults
        mark = ' <span class="fails">fails</span>' if fails else ""
        title = f"<figcaption>{_text(METHODS[name].title)}{mark}</figcaption>"
        shown.append(f"<figure>{draw(found, name, i)}{title}</figure>")
    kind = "images" if _is_image(found) else "lines"
    return (
        f"<article><h3>{_text(found.names[i])}</h3>{answer}"
        f'<div class="{kind}">{"".join(shown)}</div></article>'
    )


def _picture(found: ExplainedInputs, name: str, i: int) -> str:
    return _image(lay_over(found.inputs[i], found.maps[name][i]), METHODS[name].title)


def _image(pixels: np.ndarray, said: str = "the input") -> str:
    data = base64.b64encode(encode_png(pixels)).decode()
    return f'<img alt="{_text(said)}" src="data:image/png;base64,{data}">'


def _tokens(found: ExplainedInputs, name: str, i: int) -> str:
    """Writes the tokens of a text, each on a ground as strong as it matters."""
    weights = scale_map(found.maps[name][i])
    spans = []
    for place, word in enumerate(found.words[i]):
        if not found.present[i, place]:
            spans.append(f'<span class="absent">{_text(word)}</span>')
            continue
        weight = float(weights[place])
        side = "against" if weight < 0 else "for"
        spans.append(
            f'<span class="token {side}" style="--w:{abs(weight):.3f}" '
            f'title="{found.maps[name][i][place]:+.4g}">{_text(word)}</span>'
        )
    return f'<p class="text">{" ".join(spans)}</p>'


def _signal(found: ExplainedInputs, name: str, i: int) -> str:
    """Draws a signal over stretches that are as strong as they matter."""
    x = found.inputs[i].reshape(found.parts.shape[0], -1).astype(np.float64)[:, 0]
    weights, step = scale_map(found.maps[name][i]), 600 / len(x)
    bars = "".join(
        f'<rect class="{"against" if w < 0 else "for"}" x="{k * step:.2f}" y="0" '
        f'width="{step:.2f}" height="80" fill-opacity="{abs(w):.3f}"/>'
        for k, w in enumerate(weights)
    )
    low, span = x.min(), np.ptp(x) or 1.0
    line = " ".join(
        f"{(k + 0.5) * step:.2f},{76 - 72 * (v - low) / span:.2f}" for k, v in enumerate(x)
    )
    return (
        f'<svg viewBox="0 0 600 80" role="img" aria-label="{_text(METHODS[name].title)}">{bars}'
        f'<polyline class="signal" points="{line}"/></svg>'
    )


def _panels(found: ExplainedInputs) -> Iterator[str]:
    checks = found.checks
    for name, of_method in checks.methods.items():
        curves = (
            ("random put", checks.random_insertion),
            ("random", checks.random_deletion),
            ("put", of_method.insertion),
            ("taken", of_method.deletion),
        )
        lines = "".join(f'<polyline class="{kind}" points="{_points(c)}"/>' for kind, c in curves)
        yield (
            f"<figure><figcaption>{_text(METHODS[name].title)}</figcaption>"
            f'<svg viewBox="-1 -4 {_WIDE + 2} {_HIGH + 8}" role="img" aria-label="deletion area '
            f'{of_method.deletion_area:.3f}, insertion area {of_method.insertion_area:.3f}">'
            f'<path class="axis" d="M0 0V{_HIGH}H{_WIDE}"/>{lines}</svg></figure>'
        )


def _points(curve: list[float]) -> str:
    return " ".join(f"{k / STEPS * _WIDE:.1f},{_HIGH * (1 - v):.1f}" for k, v in enumerate(curve))


def _table(found: ExplainedInputs) -> str:
    heads, *rows = check_rows(found.checks)
    head = "".join(f"<th>{_text(cell)}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _agreement(found: ExplainedInputs) -> str:
    """Writes the rank correlation of each two methods as a table."""
    names = list(found.maps)
    if len(names) < 2:
        return "<p>There is one method.</p>"
    both = found.checks.agreement
    rows = []
    for a in names:
        cells = []
        for b in names:
            value = 1.0 if a == b else both.get((a, b), both.get((b, a), 0.0))
            side = "against" if value < 0 else "for"
            cells.append(
                f'<td class="token {side}" style="--w:{abs(value) * 0.7:.3f}">{value:.2f}</td>'
            )
        rows.append(f"<tr><th>{_text(METHODS[a].title)}</th>{''.join(cells)}</tr>")
    head = "".join(f"<th>{_text(METHODS[b].title)}</th>" for b in names)
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _palette() -> str:
    """Writes the colours as CSS, for light and for dark pages."""
    pairs = zip(COLOURS, DARK_COLOURS, strict=True)
    dark = dict(pairs)

    def block(ink: str, speaks_for: str, against: str) -> str:
        return f":root {{ --ink: {ink}; --for: {speaks_for}; --against: {against}; }}"

    night = block(DARK_INK, dark[BLUE], dark[RUST])
    return f"{block(INK, BLUE, RUST)}\n@media (prefers-color-scheme: dark) {{ {night} }}"


def _is_image(found: ExplainedInputs) -> bool:
    return len(found.parts.shape) == 2


def _text(value: object) -> str:
    return html.escape(str(value))
