"""Confusion matrices, grids of images, boxes and attention: what they say can be read."""

from types import SimpleNamespace

import numpy as np
import pytest

from lepton_jax.answers.class_label import ClassKind
from lepton_jax.answers.numbers import NumbersKind
from lepton_jax.plots import palette
from lepton_jax.plots.attention import compose_attention
from lepton_jax.plots.boxes import compose_detections
from lepton_jax.plots.confusion import compose_confusion_matrix
from lepton_jax.plots.figures import fit_text, measure_text, name_classes
from lepton_jax.plots.grids import Tile, compose_captioned_grid
from lepton_jax.plots.record import ACROSS, show_worst
from tests.plots.extents import read_words

LONG = [
    "Soft-coated wheaten terrier of Ireland",
    "$5 to $10",
    "שלום עולם",
    "a\nb",
    "",
    "under_score",
]


@pytest.mark.parametrize(
    "classes",
    [["only"], LONG, [f"class {i}" for i in range(20)], [f"species {i}" for i in range(100)]],
    ids=len,
)
def test_a_confusion_matrix_keeps_its_words_apart(classes):
    counts = np.full((len(classes), len(classes)), 12_345) + np.eye(len(classes)) * 987_654
    figure = compose_confusion_matrix(counts, classes)
    words = read_words(figure)
    assert not words.outside
    assert not words.overlapping
    assert ("12.3k" in words) == (1 < len(classes) <= 20)
    assert any(name.startswith("true") for name in words.texts)
    assert max(figure.get_size_inches()) < 13


def test_a_confusion_matrix_says_what_is_right_and_what_is_confused():
    figure = compose_confusion_matrix([[8, 2, 0], [0, 9, 1], [0, 0, 0]], ["cat", "dog", "owl"])
    words = " ".join(read_words(figure).texts).replace("\u200e", "")
    assert "17 of 20 right (85.00%)" in words
    assert "most often 2× cat as dog, 1× dog as owl" in words
    shades = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shades, [[0.8, 0.2, 0], [0, 0.9, 0.1], [0, 0, 0]])


def test_words_are_cut_in_the_middle_to_fit():
    cut = fit_text("a very long name of a class, number 17", 1.2, 9)
    assert cut.startswith("a very")
    assert cut.endswith("17")
    assert "…" in cut
    assert measure_text(cut, 9) <= 1.2
    assert fit_text("short", 1.2, 9) == "short"


def test_a_name_that_no_font_can_draw_is_its_number():
    assert name_classes(["cat", "\U000f0000", " "]) == ["cat", "class 1", "class 2"]


def worst_of(answers: list[int], labels: list[int]):
    worst = [
        {"example": i, "loss": 9.0 - i / 2, "answer": a, "confidence": 0.9}
        for i, a in enumerate(answers)
    ]
    rows = {"image": np.zeros((len(answers), 8, 8, 1), np.uint8), "label": np.array(labels)}
    return worst, rows


def test_wrong_answers_come_first_and_are_marked():
    worst, rows = worst_of([0, 1, 0, 2, *[0] * 9], [0, 2, 0, 1, *[0] * 9])
    tiles, title = show_worst(worst, rows, ClassKind(), ["a", "b", "c"], "test")
    assert [tile.caption.splitlines()[:2] for tile in tiles[:3]] == [
        ["✗ said b", "true c"], ["✗ said c", "true b"], ["✓ said a", "true a"],
    ]  # fmt: skip
    assert [tile.colour for tile in tiles] == [palette.WRONG] * 2 + [palette.RIGHT] * ACROSS
    assert title == f"test: 2 wrong answers, then {ACROSS} right, the highest loss first"


def test_a_kind_that_does_not_judge_keeps_the_order():
    class Plain(NumbersKind):
        def worst(self, outputs):
            return {}

        def caption_worst(self, example, row, classes):
            return f"no. {example['example']}"

    worst, rows = worst_of([0, 1], [0, 0])
    tiles, title = show_worst(worst, rows, Plain(), ["a", "b"], "valid")
    assert [(tile.caption, tile.colour) for tile in tiles] == [("no. 0", ""), ("no. 1", "")]
    assert title == "The highest losses of valid"


def test_a_grid_draws_pixels_as_they_are_below_their_captions_and_heads():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 8, 8, 1), np.uint8)
    tiles = [
        Tile(image, f"{name}\nloss 1.0", palette.WRONG)
        for image, name in zip(images, LONG, strict=False)
    ]
    figure = compose_captioned_grid(
        tiles, 3, title="The highest losses", heads=["as it comes", "step 1"]
    )
    words = read_words(figure)
    assert not words.outside
    assert not words.overlapping
    for drawn, image in zip(figure.images, images, strict=True):
        pixels = np.asarray(drawn.get_array())
        np.testing.assert_array_equal(pixels[::20, ::20, 0], image[..., 0])
    assert [frame.get_edgecolor()[:3] for frame in figure.artists]


def detections(classes: list[str], boxes: int):
    rng = np.random.default_rng(0)
    corner = rng.random((boxes, 2)) * 0.8
    found = np.concatenate([corner, corner + 0.05 + 0.15 * rng.random((boxes, 2))], axis=1)
    split = SimpleNamespace(columns={"image": np.zeros((1, 60, 80, 3), np.uint8)})
    example = {
        "image": split.columns["image"][0],
        "boxes": found[:3],
        "labels": np.array([0, 0, -1]),
    }
    answer = {
        "example": 0, "boxes": found.tolist(), "scores": np.linspace(0.31, 0.9, boxes),
        "labels": [i % len(classes) for i in range(boxes)],
    }  # fmt: skip

    class Images:
        columns = split.columns

        def __getitem__(self, i):
            return example

    return compose_detections([answer], Images(), classes)


def test_labels_of_many_boxes_can_be_read():
    figure = detections(["RBC", "WBC", "Soft-coated wheaten terrier of Ireland"], 30)
    words = read_words(figure)
    assert not words.outside
    assert not words.overlapping
    assert "example 0: 30 found, 2 there" in words
    assert sum("0." in text for text in words.texts) > 15
    legend = {text.get_text().strip("\u200e"): text.get_color() for text in figure.texts}
    assert [legend["■ RBC"], legend["■ WBC"]] == list(palette.COLOURS[:2])


def test_attention_says_what_its_axes_and_shades_are():
    source, answer = ["[BEGIN]", "Donaudampfschifffahrtsgesellschaft", "$x$"], ["the", "ship"]
    weights = np.array([[0.1, 0.8, 0.1], [0.0, 0.5, 0.5]])
    figure = compose_attention(
        [(source, answer, weights), (source[:1], answer[:1], weights[:1, :1])]
    )
    words = read_words(figure)
    said = {"source →", "answer ↓", "share of the attention", "$x$", "ship", "1.0"}
    assert said <= set(words.texts)
    assert not words.outside
    assert not words.overlapping
