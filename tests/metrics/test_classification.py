"""Metrics against scikit-learn, over batches whose last one is ragged."""

import numpy as np
import pytest
import sklearn.metrics as reference

from lepton_jax.errors import UserError
from lepton_jax.metrics.classification import ClassificationMetrics, TopK
from tests.metrics.splits import CLASSES, K, evaluate, split


@pytest.mark.parametrize("absent", [(), (2, 6)])
@pytest.mark.parametrize("batch_size", [16, 101, 128])
def test_classification_equals_scikit_learn(absent, batch_size):
    label, probabilities = split(0, absent)
    answer = probabilities.argmax(-1)
    ours = evaluate(ClassificationMetrics(CLASSES), label, probabilities, batch_size)

    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(label, answer), abs=1e-12)
    precision, recall, f1, _ = reference.precision_recall_fscore_support(
        label, answer, average="macro", zero_division=0
    )
    assert [ours["precision"], ours["recall"], ours["f1"]] == pytest.approx(
        [precision, recall, f1], abs=1e-12
    )
    per_class = reference.precision_recall_fscore_support(
        label, answer, labels=range(K), zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "examples"), per_class, strict=True):
        np.testing.assert_allclose([c[name] for c in ours["per_class"]], values, atol=1e-12)
    assert [c["name"] for c in ours["per_class"]] == list(CLASSES)
    want = reference.confusion_matrix(label, answer, labels=range(K))
    np.testing.assert_array_equal(ours["confusion"], want)


@pytest.mark.parametrize("k", [1, 3, 6])
@pytest.mark.parametrize("batch_size", [16, 128])
def test_top_k_equals_scikit_learn(k, batch_size):
    label, probabilities = split(1)
    ours = evaluate(TopK(CLASSES, k=k), label, probabilities, batch_size)
    want = reference.top_k_accuracy_score(label, probabilities, k=k, labels=range(K))
    assert ours == {f"top_{k}_accuracy": pytest.approx(want, abs=1e-12)}


def test_top_1_is_accuracy_also_where_classes_tie():
    label = np.array([0, 1, 2, 3], np.int32)
    probabilities = np.full((4, K), 1 / K, np.float32)
    assert evaluate(TopK(CLASSES, k=1), label, probabilities, 4) == {"top_1_accuracy": 0.25}
    assert evaluate(ClassificationMetrics(CLASSES), label, probabilities, 4)["accuracy"] == 0.25


def test_nothing_counted_gives_zeros_and_no_warning():
    metric = ClassificationMetrics(CLASSES)
    results = metric.results({"confusion": np.zeros((K, K))})
    assert {results[n] for n in ("accuracy", "precision", "recall", "f1")} == {0.0}
    assert TopK(CLASSES).results({"hits": np.zeros(()), "examples": np.zeros(())}) == {
        "top_5_accuracy": 0.0
    }


def test_results_are_plain_numbers_that_json_takes():
    import json

    label, probabilities = split(2)
    results = evaluate(ClassificationMetrics(CLASSES), label, probabilities, 16)
    assert json.loads(json.dumps(results)) == results
    scalars = [name for name, value in results.items() if isinstance(value, float)]
    assert scalars == ["accuracy", "precision", "recall", "f1"]


def test_top_k_that_cannot_miss_is_refused():
    with pytest.raises(UserError, match="k = 5: the data has 3 classes"):
        TopK(("a", "b", "c"))
