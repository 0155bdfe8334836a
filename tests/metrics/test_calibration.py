"""Expected calibration error against a count by hand."""

import numpy as np
import pytest

from lepton_jax.metrics.calibration import Calibration
from tests.metrics.splits import CLASSES, evaluate, split


@pytest.mark.parametrize("batch_size", [16, 128])
@pytest.mark.parametrize("bins", [15, 4])
def test_ece_is_what_a_count_by_hand_gives(bins, batch_size):
    label, probabilities = split(3)
    ours = evaluate(Calibration(CLASSES, bins=bins), label, probabilities, batch_size)
    sure, right = probabilities.max(1), probabilities.argmax(1) == label
    expected = 0.0
    for m in range(bins):
        inside = (sure > m / bins) & (sure <= (m + 1) / bins)
        bin_result = ours["calibration"][m]
        assert bin_result["examples"] == inside.sum()
        if inside.any():
            gap = right[inside].mean() - sure[inside].mean()
            expected += inside.mean() * abs(gap)
            assert bin_result["accuracy"] == pytest.approx(right[inside].mean())
            assert bin_result["confidence"] == pytest.approx(sure[inside].mean())
    assert expected > 0.05
    assert ours["ece"] == pytest.approx(expected, rel=1e-6)


def test_answers_as_sure_as_they_are_right_have_no_error():
    probabilities = np.full((10, 7), 0.2 / 6, np.float32)
    probabilities[:, 0] = 0.8
    label = np.array([0] * 8 + [1, 2], np.int32)
    ours = evaluate(Calibration(CLASSES), label, probabilities, 4)
    assert ours["ece"] == pytest.approx(0.0, abs=1e-6)
    label[:] = 1
    ours = evaluate(Calibration(CLASSES), label, probabilities, 4)
    assert ours["ece"] == pytest.approx(0.8, abs=1e-6)
