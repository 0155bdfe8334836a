"""Detection against plain loops, and the laws that padding, order and masks must not break."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.boxes.geometry import box_overlaps
from lepton_jax.data.spec import DataSpec, FieldSpec
from lepton_jax.errors import UserError
from lepton_jax.tasks.detection import (
    ObjectDetection,
    assign_objects,
    compute_centerness,
    generalised_iou,
    suppress_overlaps,
)

H, W, STRIDE, K = 48, 64, 8, 3


class Maps(NamedTuple):
    classes: jax.Array
    sides: jax.Array
    centerness: jax.Array


def spec(n=4):
    fields = {
        "image": FieldSpec((H, W, 3), "uint8"),
        "boxes": FieldSpec((n, 4), "float32"),
        "labels": FieldSpec((n,), "int32"),
    }
    return DataSpec(fields, ("a", "b", "c"))


def examples(rng, count, n=4):
    corners = rng.uniform(0, 0.7, (count, n, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.15, 0.3, (count, n, 2))], -1)
    return {
        "image": jnp.zeros((count, H, W, 3)),
        "boxes": jnp.asarray(boxes, jnp.float32),
        "labels": jnp.asarray(rng.integers(-1, K, (count, n)), jnp.int32),
        "mask": jnp.ones(count),
    }


def random_model(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (H // STRIDE, W // STRIDE)

    def model(image, noise):
        """Differs from example to example, by its own place in the batch."""
        B = len(image)
        return Maps(
            jax.random.normal(keys[0], (B, *shape, K)),
            jnp.exp(jax.random.normal(keys[1], (B, *shape, 4))) * STRIDE,
            jax.random.normal(keys[2], (B, *shape)),
        )

    return model


def loss_of(task, model):
    """In one program: eagerly each of its operations is compiled alone."""
    return jax.jit(lambda batch: task.loss(model, batch, None))


def points():
    yx = np.meshgrid(np.arange(H // STRIDE), np.arange(W // STRIDE), indexing="ij")
    return (np.stack(yx, -1).reshape(-1, 2) + 0.5) * STRIDE


def test_each_location_learns_the_smallest_box_around_whose_middle_it_lies():
    batch = examples(np.random.default_rng(0), 1, n=6)
    boxes = (np.asarray(batch["boxes"][0]) * [H, W, H, W]).astype(np.float32)
    labels = np.asarray(batch["labels"][0])
    assign = jax.jit(lambda b, n: assign_objects(b, n, points_P2=jnp.asarray(points()), reach=12.0))
    found, of = assign(boxes, labels)
    expected = []
    for y, x in points():
        best, smallest = -1, np.inf
        for j, (top, left, bottom, right) in enumerate(boxes):
            middle = abs(y - (top + bottom) / 2) < 12 and abs(x - (left + right) / 2) < 12
            area = (bottom - top) * (right - left)
            if (
                labels[j] >= 0 and middle and top < y < bottom and left < x < right
                and area < smallest
            ):  # fmt: skip
                best, smallest = j, area
        expected.append(best)
    expected = np.array(expected)
    on = expected >= 0
    assert 4 < on.sum() < len(on)
    np.testing.assert_array_equal(np.asarray(found)[on], labels[expected[on]])
    assert (np.asarray(found)[~on] == -1).all()
    np.testing.assert_array_equal(np.asarray(of)[on], boxes[expected[on]])


def test_nearness_is_one_in_the_middle_and_nothing_outside():
    box = jnp.array([[[10.0, 10.0, 30.0, 50.0]] * 4])
    at = jnp.array([[20.0, 30.0], [15.0, 30.0], [10.0, 30.0], [5.0, 30.0]])
    np.testing.assert_allclose(
        compute_centerness(at, box)[0], [1, (5 / 15) ** 0.5, 0, 0], atol=1e-6
    )


def test_generalised_iou_of_boxes_by_hand():
    a = jnp.array([[0.0, 0, 2, 2]] * 3)
    b = jnp.array([[0.0, 0, 2, 2], [0, 1, 2, 3], [0, 4, 2, 6]])
    # Common 2 of 6, nothing wasted of 6; nothing common, 4 of 12 wasted.
    np.testing.assert_allclose(generalised_iou(a, b), [1, 1 / 3, -4 / 12], atol=1e-6)


@pytest.mark.parametrize("overlap", [0.3, 0.6])
def test_suppression_keeps_what_the_greedy_loop_keeps(overlap):
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 0.5, (60, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.2, 0.4, (60, 2))], -1)
    labels = rng.integers(0, 2, 60)
    iou, stays = box_overlaps(boxes, boxes), []
    for i in range(60):
        if all(labels[i] != labels[j] or iou[i, j] <= overlap for j in stays):
            stays.append(i)
    found = jax.jit(suppress_overlaps, static_argnums=2)(
        jnp.asarray(boxes), jnp.asarray(labels), overlap
    )
    assert np.flatnonzero(found).tolist() == stays
    assert len(stays) < 60


def test_a_model_that_knows_is_answered_with_the_true_boxes():
    """Boxes apart from each other: each has locations of its own."""
    batch, rng = examples(np.random.default_rng(2), 3), np.random.default_rng(2)
    corners = np.array([[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5]])
    corners = corners + rng.uniform(0, 0.1, (3, 4, 2))
    sizes = rng.uniform(0.2, 0.4, (3, 4, 2))
    batch["boxes"] = jnp.asarray(np.concatenate([corners, corners + sizes], -1), jnp.float32)
    scale = jnp.array([H, W, H, W], jnp.float32)
    at = jnp.asarray(points(), jnp.float32)

    def model(image, noise):
        label, box = jax.vmap(lambda b, n: assign_objects(b, n, points_P2=at, reach=12.0))(
            batch["boxes"] * scale, batch["labels"]
        )
        sides = jnp.concatenate([at - box[..., :2], box[..., 2:] - at], -1)
        grid = (len(image), H // STRIDE, W // STRIDE)
        center = compute_centerness(at, box)
        return Maps(
            (20 * jax.nn.one_hot(label, K) - 10).reshape(*grid, K),
            sides.reshape(*grid, 4),
            jnp.log((center + 0.001) / (1.001 - center)).reshape(grid),
        )

    found = jax.jit(lambda b: ObjectDetection(spec()).predict(model, b))(batch)
    for b in range(3):
        truth, answers = (
            np.array(
                sorted(
                    [int(label), *np.asarray(box).tolist()]
                    for box, label in zip(x["boxes"][b], x["labels"][b], strict=True)
                    if label >= 0
                )
            )
            for x in (batch, found)
        )
        np.testing.assert_allclose(answers, truth, atol=1e-5)
        assert (np.diff(found["scores"][b]) <= 0).all()


def test_answers_have_one_shape_and_end_in_padding():
    task = ObjectDetection(spec(), most=60, threshold=0.7)
    predict = jax.jit(lambda batch: task.predict(random_model(0), batch))
    found = predict(examples(np.random.default_rng(0), 2))
    assert found["boxes"].shape == (2, 60, 4)
    none = np.asarray(found["labels"]) == -1
    assert none.any()
    np.testing.assert_array_equal(none, np.asarray(found["scores"]) == 0)
    assert not np.asarray(found["boxes"])[none].any()
    assert (np.asarray(found["scores"])[~none] > 0.7).all()


def test_the_loss_does_not_depend_on_padding_or_order():
    batch = examples(np.random.default_rng(3), 2)
    order = np.array([2, 0, 3, 1])
    again = {
        **batch,
        "boxes": jnp.pad(batch["boxes"][:, order], ((0, 0), (0, 3), (0, 0))),
        "labels": jnp.pad(batch["labels"][:, order], ((0, 0), (0, 3)), constant_values=-1),
    }
    a = loss_of(ObjectDetection(spec()), random_model(1))(batch)
    b = loss_of(ObjectDetection(spec(7)), random_model(1))(again)
    for name, pair in a.items():
        np.testing.assert_allclose(pair, b[name], rtol=1e-5, err_msg=name)
    parts = sum(a[name][0] for name in ("class_loss", "box_loss", "center_loss"))
    np.testing.assert_allclose(a["loss"][0], parts, rtol=1e-6)


def test_examples_add_up_and_masked_ones_do_not_count():
    loss = loss_of(ObjectDetection(spec()), random_model(2))
    batch = examples(np.random.default_rng(4), 3)
    parts = [loss({**batch, "mask": jnp.eye(3)[i]})["loss"] for i in range(3)]
    whole = loss(batch)["loss"]
    np.testing.assert_allclose(np.sum(parts, 0), whole, rtol=1e-5)


def test_a_batch_without_objects_has_a_finite_loss_and_gradient():
    batch = examples(np.random.default_rng(5), 2)
    batch = {**batch, "boxes": batch["boxes"] * 0, "labels": jnp.full((2, 4), -1)}
    maps = random_model(3)(batch["image"], None)

    def mean(maps):
        total, weight = ObjectDetection(spec()).loss(lambda *_: maps, batch, None)["loss"]
        return total / weight

    value, gradient = jax.jit(jax.value_and_grad(mean))(maps)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradient)
    assert np.abs(gradient.classes).max() > 0


@pytest.mark.parametrize("name", ["image", "boxes", "labels"])
def test_data_without_a_field_is_refused_in_words(name):
    given = spec()
    del given.fields[name]
    with pytest.raises(UserError, match=rf"needs a field '{name}'.*pad_boxes"):
        ObjectDetection(given)
