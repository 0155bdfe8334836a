"""Average precision by hand, and every example gathered once wherever the evaluation runs."""

import importlib
import sys

import jax
import numpy as np
import pytest

from lepton_jax.config import config_file
from lepton_jax.data.source import Columns
from lepton_jax.errors import UserError
from lepton_jax.evaluation.evaluator import Evaluator
from lepton_jax.metrics.detection import AveragePrecision
from lepton_jax.placement import strategies
from lepton_jax.training import build
from lepton_jax.training.layout import Layout
from lepton_jax.training.load_data import load_data

TRUE = np.array([[[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]], [[0.2, 0.2, 0.6, 0.6], [0] * 4]])
AWAY = (0.6, 0.1, 0.8, 0.3)


def rows(boxes, scores, labels, true_labels=((0, 0), (0, -1))):
    return {
        "boxes": np.array(boxes, np.float32),
        "scores": np.array(scores, np.float32),
        "labels": np.array(labels, np.int32),
        "true_boxes": TRUE.astype(np.float32),
        "true_labels": np.array(true_labels, np.int32),
    }


def test_average_precision_of_three_boxes_by_hand():
    """Ranked: a hit, a miss, a hit; the third box is not found. Precision is 1 up to a recall of
    1/3 and 2/3 up to 2/3, at the 101 recalls 0, 0.01, ... 1.
    """
    answers = rows(
        [[TRUE[0, 0], AWAY], [TRUE[1, 0], AWAY]], [[0.9, 0.8], [0.7, 0]], [[0, 0], [0, -1]]
    )
    results = AveragePrecision(["cell"]).results(answers)
    expected = (34 * 1 + 33 * 2 / 3) / 101
    for name in ("map", "map_50", "map_75"):
        assert results[name] == pytest.approx(expected, abs=1e-12)
    assert results["per_class"] == [
        {"name": "cell", "boxes": 3, "ap": results["map"], "ap_50": results["map_50"]}
    ]
    assert results["shown"][1] == {
        "example": 1, "boxes": [[0.2, 0.2, 0.6, 0.6]], "scores": [0.7], "labels": [0],
    }  # fmt: skip


def test_a_box_counts_at_the_thresholds_that_it_reaches():
    """One of IoU 0.81: right at 0.5, 0.55, ... 0.8 (7 of 10 thresholds), wrong above."""
    near = [0.2, 0.2, 0.6, 0.2 + 0.4 * 0.81]
    truth = ((-1, -1), (1, -1))
    answers = rows([[AWAY] * 2, [near, AWAY]], [[0, 0], [0.5, 0]], [[-1, -1], [1, -1]], truth)
    results = AveragePrecision(["cell", "platelet"]).results(answers)
    # The class without true boxes does not count.
    assert (results["map_50"], results["map_75"]) == pytest.approx((1.0, 1.0))
    assert results["map"] == pytest.approx(0.7)


def test_nothing_found_or_nothing_there_is_zero():
    nothing = rows(TRUE, [[0, 0], [0, 0]], [[-1, -1], [-1, -1]])
    assert AveragePrecision(["cell"]).results(nothing)["map"] == 0.0
    none = {name: values[:0] for name, values in nothing.items()}
    assert AveragePrecision(["cell"]).results(none)["map_50"] == 0.0


def test_a_missing_package_is_said_before_anything_is_computed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(UserError, match="pip install 'pycocotools"):
        AveragePrecision(["cell"])
    monkeypatch.undo()
    importlib.import_module("pycocotools")


class Everything:
    """A metric that gives back what was gathered."""

    def gathered(self, outputs, batch):
        return {"true": batch["boxes"], "labels": outputs["labels"]}

    def results(self, rows):
        return dict(rows)


PLACEMENTS = {
    "jit": strategies.jit,
    "pmap": strategies.pmap,
    "mesh": lambda devices: strategies.mesh(devices, data=4, fsdp=2),
}


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=() if name == "pmap" else pytest.mark.slow, id=name)
        for name, place in PLACEMENTS.items()
    ],
)
def test_every_example_is_gathered_once_and_in_order(place):
    """13 examples in batches of 8: the last one is padded."""
    config = config_file.load_config("configs/bccd_detector.py:tiny")[0]
    data = load_data(config)
    program = build.build_program(config, data)
    layout = Layout(program, place(jax.devices()))
    train = data.splits["train"]
    some = Columns({k: np.asarray(c[np.arange(13)]) for k, c in train.columns.items()})
    results = Evaluator(program, layout.placement, {"all": Everything()})(
        layout.fresh()["state"], some
    )
    np.testing.assert_array_equal(results["true"], some.columns["boxes"])
    assert np.shape(results["labels"])[0] == 13
