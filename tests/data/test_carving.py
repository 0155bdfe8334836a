"""An example's side depends on (seed, index) alone."""

import numpy as np
import pytest

from lepton_jax.data.dataset import carve_indices

pytestmark = pytest.mark.filterwarnings("error")


def test_sides_are_disjoint_and_complete():
    train, valid = carve_indices(10_000, 0.1, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, valid])), np.arange(10_000))
    assert abs(len(valid) - 1000) < 100  # more than three standard deviations


def test_more_examples_move_none():
    _, small = carve_indices(1000, 0.2, seed=3)
    _, large = carve_indices(5000, 0.2, seed=3)
    np.testing.assert_array_equal(small, large[large < 1000])


def test_greater_fraction_keeps_what_was_valid():
    _, few = carve_indices(1000, 0.1, seed=3)
    _, more = carve_indices(1000, 0.3, seed=3)
    assert set(few) < set(more)


def test_seeds_carve_differently():
    assert set(carve_indices(1000, 0.2, seed=0)[1]) != set(carve_indices(1000, 0.2, seed=1)[1])


def test_carving_stays_the_same_for_ever():
    assert carve_indices(60, 0.1, seed=0)[1].tolist() == [7, 17, 24, 27, 33, 44, 50]


@pytest.mark.parametrize(("fraction", "valid"), [(0.0, 0), (1.0, 100)])
def test_extremes(fraction, valid):
    assert len(carve_indices(100, fraction, seed=0)[1]) == valid
