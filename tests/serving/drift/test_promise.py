"""What an alarm promises, in worlds that do not move and in worlds that do."""

import numpy as np
import pytest
from scipy import stats

from lepton_jax.serving.drift.calibrated import NullLaw, WindowTests
from lepton_jax.serving.drift.classifier import classifier_test
from lepton_jax.serving.drift.model_watch import MONTH, ModelWatch
from lepton_jax.serving.drift.sequential import SequentialTest
from lepton_jax.serving.drift.window import WindowJudge
from tests.serving.drift.worlds import classes, draw, make_world


@pytest.mark.parametrize("size", [50, 200])
def test_calibrated_windows_alarm_as_often_as_they_say(size: int):
    """Of references and windows drawn anew: 300 windows at a level of 5 %."""
    chance, alarms = np.random.default_rng(size), {}
    for _ in range(60):
        reference = make_world(chance)
        tests = WindowTests(reference, size, draws=300)
        for _ in range(5):
            values, label = draw(chance, size), classes(chance, size)
            for test, found in tests.distances(values, label).items():
                p_value = tests.laws[test].p_value(tests.scaled(test, found.max()))
                alarms[test] = alarms.get(test, 0) + (p_value <= 0.05)
            scaled = [(x - reference.centre) / reference.scale for x in (reference.values, values)]
            alarms["classifier"] = alarms.get("classifier", 0) + (
                classifier_test(*scaled)[1] <= 0.05
            )
    assert alarms.keys() == {"ks", "psi", "chi_squared", "classifier"}
    # Windows of one reference go together, so the spread is wider than a binomial's.
    assert all(2 <= n <= 30 for n in alarms.values()), alarms


def test_folklore_thresholds_alarm_falsely_and_calibrated_ones_know_the_size():
    """PSI above 0.2 is 'a shift' by folklore, whatever the number of examples."""
    chance = np.random.default_rng(0)
    tests = WindowTests(make_world(chance), 50)
    psi = [tests.distances(draw(chance, 50), None)["psi"].max() for _ in range(200)]
    assert np.mean(np.asarray(psi) > 0.2) > 0.5
    assert tests.unscaled("psi", tests.laws["psi"].threshold(0.01)) > 0.3


def test_a_tail_goes_on_exponentially_beyond_what_was_drawn():
    law = NullLaw(np.sort(np.random.default_rng(0).exponential(size=4000)))
    for distance in (1.0, 3.0, 12.0):
        assert np.log(law.p_value(distance)) == pytest.approx(-distance, rel=0.1)
    for level in (0.2, 0.01, 1e-6):
        assert law.p_value(law.threshold(level)) == pytest.approx(level, rel=0.1)


def test_ranks_are_uniform_and_independent_while_nothing_moves():
    chance, p_values = np.random.default_rng(1), []
    for _ in range(40):
        test = SequentialTest(make_world(chance, 100))
        ranks = test._ranks(test._cells(draw(chance, 200)))
        p_values += [stats.kstest(ranks[:, s], "uniform").pvalue for s in range(4)]
        lag = np.corrcoef(ranks[1:, 0], ranks[:-1, 0])[0, 1]
        p_values.append(2 * stats.norm.sf(abs(lag) * np.sqrt(199)))
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_bets_alarm_no_more_often_than_was_allowed():
    """Ville's bound: 150 streams of 200 examples that may each spend 0.2 alarms."""
    chance, alarms = np.random.default_rng(2), 0
    for _ in range(150):
        test = SequentialTest(make_world(chance, 100))
        test.watch(draw(chance, 200), 0.2 / 200)
        alarms += test.most >= 1
    assert alarms / 150 <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / 150)


@pytest.mark.parametrize("batch", [1, 7, 400])
def test_bets_see_a_small_shift_and_when_it_began(batch: int):
    chance = np.random.default_rng(3)
    test = SequentialTest(make_world(chance))
    stream = np.concatenate([draw(chance, 400), draw(chance, 400, 0.5)])
    seen = 0
    while test.most < 1:
        test.watch(stream[seen : seen + batch], 1e-6)
        seen += batch
    assert 400 < seen <= 800
    assert abs(test.since - 400) < 60


def test_bets_say_when_a_large_shift_began():
    """Small stakes that had won a little by chance before do not count."""
    chance, off = np.random.default_rng(4), []
    for _ in range(20):
        test, began = SequentialTest(make_world(chance)), int(chance.integers(50, 300))
        stream = np.concatenate([draw(chance, began), draw(chance, 100, 3.0)])
        for row in stream:
            test.watch(row[None], 1e-6)
            if test.most >= 1:
                break
        off.append(abs(test.since - began))
    assert np.median(off) <= 4
    assert max(off) <= 40


def test_a_window_that_moved_is_an_alarm_of_every_test_and_another_is_none():
    chance = np.random.default_rng(4)
    judge = WindowJudge(make_world(chance), 200)
    quiet = judge.judge(draw(chance, 200), classes(chance, 200), 1e-4)
    assert not quiet.alarm
    assert not quiet.causes
    moved = judge.judge(draw(chance, 200, 1.0), classes(chance, 200, 1.0), 1e-4)
    assert {t.test for t in moved.tests if t.alarm} == {"ks", "psi", "chi_squared", "classifier"}
    assert moved.statistics[0].moved


def watched(chance: np.random.Generator, *parts: tuple[int, float], seconds: float) -> ModelWatch:
    """Watches traffic: parts of so many examples that are shifted, at so many seconds each."""
    watch = ModelWatch(make_world(chance, 400), {})
    watch._seen_at, now = 0.0, 0.0
    for count, shift in parts:
        for _ in range(0, count, 25):
            now += 25 * seconds
            watch._take(draw(chance, 25, shift), classes(chance, 25, shift), now, now)
    return watch


def test_a_month_of_quiet_traffic_seldom_alarms():
    """Of 6 months of 1,200 examples at most a few alarm: the promise is one a month."""
    chance = np.random.default_rng(5)
    months = [watched(chance, (1200, 0.0), seconds=MONTH / 1200) for _ in range(6)]
    assert sum(m.alarm is not None for m in months) <= 4
    assert all(m.verdict is not None for m in months)


def test_an_alarm_says_since_when_and_stays():
    chance = np.random.default_rng(6)
    watch = watched(chance, (400, 0.0), (100, 0.8), (400, 0.0), seconds=10.0)
    assert watch.alarm is not None
    assert watch.alarm.by == "bets"
    assert abs(watch.alarm.since - 4000) <= 500
    assert watch.alarm.noticed <= 5000


def test_what_is_kept_of_a_year_of_traffic_is_bounded():
    chance = np.random.default_rng(7)
    watch = watched(chance, (20_000, 0.0), seconds=1.0)
    assert len(watch.history.points) <= 96
    assert sum(p.examples for p in watch.history.points) == 20_000 == watch.bets.seen
    assert len(watch._values_NS) <= 200
