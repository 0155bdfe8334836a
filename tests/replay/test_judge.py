"""To the bit, or within the tolerance: what a span may differ by, and what is too much."""

import numpy as np
import pytest

from lepton_jax.replay.judge import distance, judge_span
from lepton_jax.replay.replayer import Recomputed
from lepton_jax.replay.spans import Span
from lepton_jax.replay.verdict import ReplayedSpan

SPAN = Span(10, 20)
START = {"learner.w": np.zeros(4, np.float32), "step": np.int32(10)}
END = {"learner.w": np.full(4, 0.5, np.float32), "step": np.int32(20)}


def judge(loss: float, w: float, *, exact: bool, step: int = 20) -> ReplayedSpan:
    """Judges a record that says a loss of `loss` and weights of `w`, where 1.0 and 0.5 are true."""
    found = Recomputed(numbers={20: {"train/loss": 1.0}}, start=START, end=END)
    kept = {"learner.w": np.full(4, w, np.float32), "step": np.int32(step)}
    return judge_span(SPAN, {20: {"train/loss": loss}}, {}, kept, found, exact=exact)


def test_what_is_the_same_to_the_bit_holds_anywhere():
    for exact in (True, False):
        judged = judge(1.0, 0.5, exact=exact)
        assert judged.equal
        assert not judged.findings


@pytest.mark.parametrize(("loss", "w"), [(1.0000001, 0.5), (1.0, 0.5000001)])
def test_a_last_digit_is_a_difference_here_and_none_elsewhere(loss: float, w: float):
    assert judge(loss, w, exact=True).findings
    assert not judge(loss, w, exact=False).findings
    assert not judge(loss, w, exact=False).equal


@pytest.mark.parametrize(("loss", "w"), [(1.1, 0.5), (1.0, 0.6), (float("nan"), 0.5)])
def test_what_is_beyond_the_tolerance_is_found_elsewhere_too(loss: float, w: float):
    (finding,) = judge(loss, w, exact=False).findings
    assert finding.step == 20


def test_a_count_must_be_the_same_anywhere():
    assert judge(1.0, 0.5, exact=False, step=21).findings


def test_the_distance_is_over_the_way_that_the_arrays_went():
    kept = {**END, "learner.w": np.full(4, 0.6, np.float32)}
    assert distance(kept, END, START) == pytest.approx(0.2, rel=1e-5)
    assert distance(END, END, END) == 0.0
    assert distance({**END, "learner.w": np.zeros(3, np.float32)}, END, START) == np.inf


def test_a_number_that_only_one_of_them_has_is_named():
    found = Recomputed(numbers={20: {"train/loss": 1.0}}, start=START, end=END)
    judged = judge_span(SPAN, {}, {}, END, found, exact=False)
    assert "says train/loss None, computed again 1.0" in str(judged.findings[0])
