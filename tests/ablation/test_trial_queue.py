"""What the lines of an experiment say: which trials of how many, and when all are done."""

import re

import pytest

from lepton_jax.ablation.run import trial_queue
from lepton_jax.ablation.run.trial_queue import TrialQueue


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, as the test tells them."""
    now = [50.0]
    monkeypatch.setattr(trial_queue.time, "monotonic", lambda: now[0])
    return now


def test_trials_are_named_and_what_is_left_of_all_is_by_those_before(clock: list[float]):
    queue = TrialQueue([f"t{i}" for i in range(12)])
    with queue.running(["t0", "t1", "t2", "t3"]) as among:
        assert among.name == "trials 1-4/12"
        clock[0] += 60
        assert among.left_of_all(40.0) == pytest.approx(40 + 2 * 100)
        clock[0] += 40
    assert re.fullmatch(r"4 of 12 trials, all done at \d\d:\d\d|.* on .*", str(queue))
    with queue.running(["t4"]) as among:
        assert among.name == "t4 5/12"
        assert among.left_of_all(25.0) == pytest.approx(25 + 7 * 25)
    queue.note_ended([f"t{i}" for i in range(12)])
    assert str(queue) == "12 of 12 trials"


def test_a_long_name_keeps_its_variant_and_its_seed(clock: list[float]):
    usual, long = "learning_rate=0.003_dropout=0.5-1", f"{'a-name-' * 8}that-is-long-12"
    queue = TrialQueue([f"{usual}-0123456789ab", long])
    with queue.running([f"{usual}-0123456789ab"]) as among:
        assert among.name == f"{usual} 1/2"
    with queue.running([long]) as among:
        assert re.fullmatch(r"a-name-a-name-.+that-is-long-12 2/2", among.name)
        assert len(among.name) <= 44


def test_a_tuned_trial_is_named_with_the_value_that_it_tries(clock: list[float]):
    names = ["tuned-0-0123456789ab", "tuned-0-ba9876543210", "plain-0-0123456789ab"]
    queue = TrialQueue(names, ["learning_rate=0.01", "learning_rate=0.1", ""])
    said = []
    for name in names:
        with queue.running([name]) as among:
            said.append(among.name)
    assert said == [
        "tuned-0 learning_rate=0.01 1/3",
        "tuned-0 learning_rate=0.1 2/3",
        "plain-0 3/3",
    ]


def test_trials_that_had_ended_are_not_counted_twice(clock: list[float]):
    queue = TrialQueue(["a", "b"])
    with queue.running(["a"]):
        pass
    with queue.running(["a"]) as among:
        clock[0] += 10
        assert among.left_of_all(0.0) == pytest.approx(10)
