import io
from math import inf, nan

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from lepton_jax.io import files
from lepton_jax.plots import palette
from lepton_jax.plots.confusion import draw_confusion_matrix
from lepton_jax.plots.learning_curves import (
    Marks,
    compose_learning_curves,
    draw_learning_curves,
)
from lepton_jax.plots.scales import format_tick
from tests.plots.extents import read_words


def picture(path) -> np.ndarray:
    image = Image.open(io.BytesIO(files.read_bytes(path)))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def rows_of(**metrics) -> list[dict[str, float]]:
    """Rows of steps 1, 2, ... from `train__loss=[...]`."""
    length = max(map(len, metrics.values()))
    return [
        {"step": i + 1}
        | {
            name.replace("__", "/"): values[i]
            for name, values in metrics.items()
            if i < len(values)
        }
        for i in range(length)
    ]


def run_rows() -> list[dict[str, float]]:
    x = np.arange(1, 21)
    loss = 2.3 * np.exp(-x / 3)
    return rows_of(
        train__loss=loss, train__accuracy=1 - loss / 2.5, valid__loss=loss + 0.05,
        valid__accuracy=0.98 - loss / 2.5, valid__recall=0.981 - loss / 2.5,
        valid__precision=1 - loss / 9, train__learning_rate=1e-3 * (1 - x / 21),
    )  # fmt: skip


def panel(figure: Figure, name: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == name)


def test_a_panel_a_metric_but_for_those_that_repeat_another():
    figure = compose_learning_curves(run_rows())
    names = [axes.get_label() for axes in figure.axes]
    assert names == ["loss", "accuracy", "precision", "learning_rate"]
    assert any(
        words == "left out for repeating accuracy: recall" for words in read_words(figure).texts
    )
    sizes = {tuple(np.round(axes.bbox.size)) for axes in figure.axes}
    assert len(sizes) == 1


def test_the_checkpoint_and_its_results_are_marked():
    rows = run_rows()
    marks = Marks(best="valid/loss", step=12, test={"loss": 0.25, "accuracy": 0.931, "worst": []},
                  steps_per_epoch=4.0)  # fmt: skip
    figure = compose_learning_curves(rows, marks)
    words = read_words(figure)
    assert f"◆ {rows[11]['valid/loss']:.4g}" in words
    said = {"● 0.25", "● 0.931", "┆ checkpoint of step 12 (epoch 3)", "step", "epoch"}
    assert said <= set(words.texts)
    for name, value in (("loss", 0.25), ("accuracy", 0.931)):
        dots = [
            tuple(line.get_xydata()[0])
            for line in panel(figure, name).lines
            if len(line.get_xdata()) == 1
        ]
        assert (12, value) in dots
    (below,) = panel(figure, "learning_rate").child_axes
    assert below.get_xlim()[1] == pytest.approx(1.02 * 20 / 4)
    assert not words.outside
    assert not words.overlapping


def test_axes_of_logarithms_are_for_what_falls_by_far():
    x = np.arange(1, 21)
    rows = rows_of(train__loss=10.0 ** (-x / 5), train__accuracy=10.0 ** (x / 5 - 5),
                   valid__elbo=-(10.0 ** (x / 5)), train__grad_norm=1 + x / 20)  # fmt: skip
    figure = compose_learning_curves(rows)
    scales = {axes.get_label(): axes.get_yscale() for axes in figure.axes}
    assert scales == dict(loss="log", accuracy="linear", elbo="linear", grad_norm="linear")


def test_a_loss_that_breaks_out_leaves_no_other_panel_out():
    loss = [2.0 - i / 50 for i in range(20)] + [700.0]
    accuracy = [0.1 + i / 50 for i in range(20)] + [0.1]
    figure = compose_learning_curves(rows_of(train__loss=loss, train__accuracy=accuracy))
    assert [axes.get_label() for axes in figure.axes] == ["loss", "accuracy"]


def test_many_points_become_a_band_and_its_mean():
    rng = np.random.default_rng(0)
    loss = 5 + rng.normal(size=12_000)
    figure = compose_learning_curves(rows_of(train__loss=loss))
    (axes,) = figure.axes
    (line,), (band,) = axes.lines, axes.collections
    assert len(line.get_xdata()) <= 400
    assert np.mean(line.get_ydata()) == pytest.approx(loss.mean(), abs=1e-6)
    low, high = band.get_datalim(axes.transData).intervaly
    assert (low, high) == pytest.approx((loss.min(), loss.max()))


def test_numbers_that_are_not_finite_are_said():
    rows = rows_of(
        train__loss=[3.0, 2.0, nan, inf], valid__loss=[nan] * 4, valid__accuracy=[nan] * 4
    )
    words = " ".join(read_words(compose_learning_curves(rows)).texts)
    assert "train: 2 of 4 not finite,\nthe first at step 3" in words
    assert "valid: 4 of 4 not finite" in words
    figure = compose_learning_curves(rows_of(train__loss=[3.0, 2.0]), Marks(not_finite=7))
    assert "│ step 7: not finite" in read_words(figure).texts
    assert figure.axes[0].get_xlim()[1] > 8
    assert [line.get_xdata()[0] for line in figure.axes[0].lines][-1] == 8
    assert "no metric was recorded" in read_words(compose_learning_curves([]))


@pytest.mark.parametrize(
    "metrics",
    [
        dict(
            train__loss=[-1234567.25 - i / 2 for i in range(9)],
            valid__elbo=[-100234 + i / 100 for i in range(9)],
            train__tiny=[i * 1e-7 for i in range(9)],
        ),
        {
            "a_name_without_end_" * 4 + "__" + "another_without_end_" * 4: [1.0, 2.0],
            "train__x": [1.0],
        },
        {"train__costs_$1_and_$2": [1e30, -1e30]},
        {"train__loss": [1.0]},
    ],
)
def test_words_stay_in_their_panel(metrics):
    marks = Marks(best="valid/elbo", step=1, test={"elbo": -100233.987654321}, steps_per_epoch=0.5)
    figure = compose_learning_curves(rows_of(**metrics), marks)
    words = read_words(figure)
    assert not words.outside
    assert not words.overlapping


def test_ticks_are_told_from_the_next():
    assert [format_tick(v, 0.5, 2.0) for v in (0.0, 0.5, 2.0)] == ["0", "0.5", "2.0"]
    assert [format_tick(v, 0.01, 1e5) for v in (-1e5, 1e5 + 0.01)] == ["−100,000.00", "100,000.01"]
    assert [format_tick(v, 5e-5, 2e-4) for v in (5e-5, 2e-4)] == ["5e−5", "2.0e−4"]
    assert format_tick(2.5e12, 5e11, 3e12) == "2.5e12"


@pytest.mark.usefixtures("rendered_figures")
def test_the_same_rows_give_the_same_file_which_shows_each_split(tmp_path):
    for name in ("a.png", "b.png"):
        draw_learning_curves(run_rows(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pixels = picture(tmp_path / "a.png").reshape(-1, 3)
    for split in ("train", "valid"):
        wanted = np.array([int(palette.SPLITS[split][i : i + 2], 16) for i in (1, 3, 5)])
        assert (pixels == wanted).all(axis=1).any()


def test_pictures_go_to_a_bucket(bucket):
    draw_learning_curves(run_rows(), "gs://b/run/curves.png")
    draw_confusion_matrix(np.eye(3), "abc", "gs://b/run/confusion.png")
    assert picture("gs://b/run/curves.png").size
    assert bucket.puts == ["gs://b/run/curves.png", "gs://b/run/confusion.png"]
