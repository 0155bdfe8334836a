"""Classification of images and of signals is one computation over two fields."""

import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.data.spec import DataSpec, FieldSpec
from lepton_jax.errors import UserError
from lepton_jax.tasks.classification import ImageClassification, SignalClassification

LABEL = FieldSpec((), "int32")


def spec(name, shape, classes=("a", "b", "c")):
    return DataSpec({name: FieldSpec(shape, "float32"), "label": LABEL}, classes)


def logits(x, noise):
    return x.reshape(len(x), -1)[:, :3]


@pytest.mark.parametrize("shape", [(4,), (4, 2)])
def test_a_signal_counts_as_an_image_of_the_same_numbers(shape):
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    rest = {"label": jnp.array([0, 1, 2, 0, 1]), "mask": jnp.array([1.0, 1, 1, 1, 0])}
    signals = SignalClassification(spec("signal", shape), label_smoothing=0.1)
    images = ImageClassification(spec("image", (4, 1, 2)), label_smoothing=0.1)
    assert signals.input_shape == shape
    found = signals.loss(logits, {"signal": x, **rest}, "training")
    expected = images.loss(logits, {"image": x, **rest}, "training")
    assert found == expected
    assert float(found["accuracy"][1]) == 4


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (spec("image", (4, 4, 1)), "needs a field 'signal' with 1 or 2 axes an example"),
        (spec("signal", (4, 4, 1)), r"the data has signal \w+ \[4, 4, 1\], label int32 \[\]"),
        (spec("signal", (4,), ("a",)), "at least two named classes; the data has 1, 'a'"),
    ],
)
def test_data_of_another_kind_is_refused_in_words(data, problem):
    with pytest.raises(UserError, match=problem):
        SignalClassification(data)


def test_the_losses_of_auxiliary_classifiers_are_added_in_training_alone():
    task = ImageClassification(spec("image", (4, 1, 2)), label_smoothing=0.1)
    rng = np.random.default_rng(0)
    main, first, second = rng.normal(size=(3, 5, 3)).astype(np.float32)
    batch = {
        "image": np.zeros((5, 4, 1, 2), np.float32),
        "label": jnp.array([0, 1, 2, 0, 1]),
        "mask": jnp.array([1.0, 1, 1, 1, 0]),
    }

    def model(x, noise):
        return main if noise is None else (main, [(0.3, first), (0.2, second)])

    def alone(logits):
        return task.loss(lambda x, noise: logits, batch, "training")["loss"][0]

    found = task.loss(model, batch, "training")
    expected = alone(main) + 0.3 * alone(first) + 0.2 * alone(second)
    np.testing.assert_allclose(found["loss"][0], expected, rtol=1e-6)
    assert found["accuracy"] == task.loss(lambda x, noise: main, batch, "training")["accuracy"]
    evaluated = task.loss(model, batch, None)
    assert evaluated == task.loss(lambda x, noise: main, batch, None)
