"""Answers about objects are compared as sets, and only as far as rounding may reorder them."""

import numpy as np

from lepton_jax.answers.numbers import NumbersKind
from lepton_jax.answers.objects import ObjectsKind, reorder_objects


def answers():
    rng = np.random.default_rng(0)
    labels = np.array([[0, 1, 0, 1, -1], [1, 1, 0, -1, -1]], np.int32)
    boxes = rng.uniform(size=(2, 5, 4)).astype(np.float32) * (labels >= 0)[..., None]
    scores = np.array([[0.9, 0.5, 0.5, 0.4, 0], [0.8, 0.7, 0.6, 0, 0]], np.float32)
    return {"boxes": boxes, "scores": scores, "labels": labels}


def reordered(order):
    return {k: v[:, order] for k, v in answers().items()}


def test_equal_scores_may_come_in_either_order():
    swapped = reordered([0, 2, 1, 3, 4])
    assert ObjectsKind().compare(swapped, answers(), 1e-4).same
    np.testing.assert_array_equal(reorder_objects(swapped, answers())["boxes"], answers()["boxes"])


def test_another_box_label_or_score_is_still_seen():
    for name, change in (("boxes", 2e-4), ("scores", 2e-4), ("labels", 1)):
        other = answers()
        other[name][0, 1] += change
        assert not ObjectsKind().compare(other, answers(), 1e-4).same, name
    missing = answers()
    for values in missing.values():
        values[0, 2] = -1 if values.dtype == np.int32 else 0
    assert not ObjectsKind().compare(missing, answers(), 1e-4).same


def test_answers_that_are_no_objects_keep_their_order():
    swapped = reordered([0, 2, 1, 3, 4])
    assert not NumbersKind().compare(swapped, answers(), 1e-4).same
