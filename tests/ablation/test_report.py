"""The report's files: what they hold, how large they are, how long they take."""

import csv
import json
import re
import time
from pathlib import Path

import pytest
from PIL import Image

from lepton_jax.ablation.analysis.comparison import analyse
from lepton_jax.ablation.analysis.tables import build_tables
from lepton_jax.ablation.report import curves, html
from lepton_jax.ablation.report.heat_map import heat_map_data
from lepton_jax.tables import Table, latex_text, markdown_text
from tests.ablation.outcomes import large, of_values, outcome, results

BASE, OTHER = [0.91, 0.92, 0.93], [0.94, 0.955, 0.96]


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


@pytest.mark.slow
def test_a_thousand_trials_are_quick_and_small(tmp_path):
    found = large()
    started = time.process_time()  # of the processor: others may be at it as well
    path = html.write_report(analyse(found), str(tmp_path))
    assert time.process_time() - started < 15
    page = Path(path).read_text()
    assert len(page.encode()) < 10e6
    data = data_of(page)
    assert (len(data["trials"]), len(data["variants"])) == (1000, 200)
    failed = next(t for t in data["trials"] if t["state"] == "failed")
    assert failed["reason"] == "the loss was not finite at step 150"
    assert failed["command"].startswith("python launch.py train --config=")
    assert ["optimizer.learning_rate", "0.001", "0.004"] in failed["changes"]
    # Nothing that a browser would fetch, and no way out of the script that holds the data.
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\(", page)
    assert page.count("</script>") == 2
    assert "<b>crop" not in page


@pytest.mark.usefixtures("rendered_figures")
def test_every_table_in_three_formats(tmp_path):
    html.write_report(analyse(large(variants=4, points=20)), str(tmp_path))
    names = {"results", "comparisons", "cost", "published", "trials"}
    kinds = {"csv", "tex", "md"}
    found = {p.name for p in (tmp_path / "tables").iterdir()}
    assert found == {f"{n}.{k}" for n in names for k in kinds}
    with Image.open(tmp_path / "curves.png") as image:
        assert min(image.size) > 90
    with open(tmp_path / "tables" / "trials.csv") as f:
        assert len(list(csv.DictReader(f))) == 20


def test_csv_keeps_every_digit(tmp_path):
    found = of_values({"baseline": BASE, "b": OTHER})
    html.write_report(analyse(found), str(tmp_path))
    with open(tmp_path / "tables" / "comparisons.csv") as f:
        (row,) = csv.DictReader(f)
    (expected,) = analyse(found).comparisons
    assert float(row["p (Holm)"]) == expected.p_corrected
    assert float(row["difference"]) == expected.difference


def test_numbers_as_a_reader_sees_them():
    row = {"a": -0.5, "b": 1.5e-5, "c": 123456.7, "d": 12, "e": None, "f": 1234.0}
    (cells,) = Table("t", "T", [row]).cells()
    assert cells == ["−0.5000", "1.500e-05", "123457", "12", "–", "1234"]


def test_names_that_mean_something_to_latex_and_markdown():
    found = of_values({"baseline": BASE, "50% a_b & c|d": OTHER})
    table = build_tables(analyse(found))[0]
    latex, markdown = latex_text(table), markdown_text(table)
    assert r"50\% a\_b \& c|d &" in latex
    assert latex.count(r" \\") == 3
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    lines = markdown.splitlines()
    assert r"| 50% a_b & c\|d |" in lines[3]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_a_curves_band_reaches_from_the_lowest_seed_to_the_highest():
    outcomes = [
        outcome("a", 0, 0.5, curve=((10, 0.1), (20, 0.4))),
        outcome("a", 1, 0.5, curve=((10, 0.3), (20, 0.5), (30, 0.9))),
        # A trial that failed has no part in it.
        outcome("a", 2, None, state="failed", curve=((10, 0.0),)),
    ]
    found = curves.curve_bands(results(outcomes))["a"]
    assert found["steps"] == [10, 20]
    assert found["mean"] == pytest.approx([0.2, 0.45])
    assert (found["low"], found["high"]) == ([0.1, 0.4], [0.3, 0.5])


def test_a_variant_has_one_colour_in_the_picture_and_on_the_page(tmp_path):
    outcomes = [
        outcome(name, 0, test, curve=((10, test / 2), (20, test)))
        for name, test in {
            "a": 0.91,
            "baseline": 0.9,
            **{f"v{i}": 0.8 - i / 100 for i in range(8)},
        }.items()
    ]
    analysis = analyse(results(outcomes))
    page = Path(html.write_report(analysis, str(tmp_path))).read_text()
    data = data_of(page)
    light = page[: page.index("@media")]
    named = dict(re.findall(r"--c(\d): (#[0-9a-f]{6});", light))
    bands, looks = curves.curve_bands(analysis.results), curves.choose_looks(analysis.results)
    figure = curves.compose_curves(bands, data["curves"], looks, "accuracy")
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    assert [*drawn][:2] == ["baseline", "v7"]  # then the largest difference from it
    assert [*drawn][-1] == f"and {len(outcomes) - curves.MOST_CURVES} more"
    seen = set()
    for variant in data["variants"]:
        if line := drawn.get(variant["name"]):
            assert line.get_color() == named[str(variant["colour"])]
            assert (line.get_linestyle() == "-") == (variant["dash"] == "")
        seen.add((variant["colour"], variant["dash"]))
    assert len(seen) == len(outcomes)


def test_losses_of_more_than_a_decade_stand_on_an_axis_of_logarithms(tmp_path):
    def drawn(metric: str, last: float):
        outcomes = [outcome("baseline", s, last, curve=((10, 2.0), (20, last))) for s in range(2)]
        analysis = analyse(results(outcomes, metric=metric, mode="min"))
        bands = curves.curve_bands(analysis.results)
        looks = curves.choose_looks(analysis.results)
        axes = curves.compose_curves(bands, ["baseline"], looks, metric).axes[0]
        page = Path(html.write_report(analysis, str(tmp_path))).read_text()
        return axes.get_yscale(), data_of(page)["log"]

    assert drawn("loss", 0.01) == ("log", True)
    assert drawn("loss", 1.0) == ("linear", False)
    assert drawn("accuracy", 0.01) == ("linear", False)


def test_long_curves_keep_their_ends():
    found = curves.thin_out(list(range(1000)), 80)
    assert (len(found), found[0], found[-1]) == (80, 0, 999)
    assert curves.thin_out([1, 2], 80) == [1, 2]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ([{"a": 1, "b": 2.0}, {"a": 1}, {"b": 2.0}, {}], "grid"),
        ([{"a": i, "b": i * 0.37} for i in range(20)], "scatter"),
        ([{"a": i, "b": i, "c": i} for i in range(4)], "strips"),
        ([{"a": i} for i in range(4)], "strips"),
        ([{"a": "x", "b": 1}, {"a": "y", "b": 2}], "strips"),
    ],
)
def test_how_the_space_is_drawn(changes, kind):
    outcomes = [
        outcome(f"v{i}", 0, 0.5, changes={k: (0, v) for k, v in c.items()})
        for i, c in enumerate(changes)
    ]
    found = heat_map_data(results(outcomes))
    assert found is not None
    assert found["kind"] == kind
    # Where a trial changes nothing it is at the baseline's value.
    if kind == "grid":
        assert [p["at"] for p in found["points"]] == [[1, 2.0], [1, 0], [0, 2.0], [0, 0]]


@pytest.mark.parametrize(
    "found",
    [
        results([]),
        results([outcome("baseline", 0, None, state="waiting", valid=None)]),
        results([outcome("baseline", 0, None, state="failed", reason="x", valid=float("nan"))]),
        of_values({"baseline": [0.5, 0.5], "b": [0.5, float("inf")]}),
        results([outcome(f"t{i}", 0, None, valid=0.1) for i in range(3)], baseline=""),
    ],
)
def test_a_report_of_little_is_a_report(found, tmp_path):
    page = Path(html.write_report(analyse(found), str(tmp_path))).read_text()
    assert "Does it help?" in page
    data_of(page)
