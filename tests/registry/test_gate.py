"""Gates: the grammar, what each condition finds out, and the error rates that are stated."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lepton_jax.config.gate_text import FORMS, split_conditions
from lepton_jax.errors import UserError
from lepton_jax.evaluation.answered import AnsweredExamples, parse_answered
from lepton_jax.registry.gate.error_rates import find_error_rates
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.grammar import parse_condition
from lepton_jax.registry.gate.judge import judge_by_gate
from lepton_jax.registry.gate.measures import (
    measure_accuracy,
    measure_calibration,
    measure_difference,
    measure_rate,
)

CLASSES = ("cat", "dog, or wolf", "owl")


def answered(label, answer, confidence=0.9) -> AnsweredExamples:
    label, answer = (np.asarray(x, np.int32) for x in (label, answer))
    sure = np.broadcast_to(np.float32(confidence), label.shape)
    place = np.arange(len(label), dtype=np.int32)
    return AnsweredExamples(place, label, answer, sure, sure, len(label), "sha256:d")


def with_accuracy(examples: int, right: int, seed: int = 0) -> AnsweredExamples:
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 3, examples)
    wrong = draw.permutation(examples) >= right
    return answered(label, (label + wrong) % 3)


def seen(kept: AnsweredExamples | None, production: Evidence | None = None, **known) -> Evidence:
    """What a gate sees of a bundle without a file."""
    evidence = Evidence(Path("nowhere"), "m/2", lambda: production)
    accuracy = {} if kept is None else {"test/accuracy": float(kept.right.mean())}
    there = {"answered": kept, "classes": CLASSES, "metrics": accuracy, "id": f"sha256:{id(kept)}"}
    there["lineage"] = {}
    vars(evidence).update(there | known)
    return evidence


def judge(condition: str, evidence: Evidence):
    (found,) = judge_by_gate([condition], evidence)
    return found


# The grammar


@pytest.mark.parametrize(
    "text",
    ["test/loss<=0.1", "test/accuracy>=production-0.01", "lower(test/accuracy)>=0.97",
     "upper(calibration)<=0.05", "recall(each)>=0.9", "precision(dog, or wolf)>0.5",
     "lower(recall(cat))>=0.5", "calibration<=0.05", "latency<=5ms", "size<=10MB", "replayed>=3",
     "clean", "signed"],
)  # fmt: skip
def test_condition_is_kept_as_it_is_written(text):
    assert str(parse_condition(text)) == text
    assert str(parse_condition(f"  {text} ")) == text


def test_every_form_of_the_list_is_a_condition():
    for form in FORMS:
        for word, one in (("METRIC", "test/f1"), ("MEASURE", "test/accuracy"), ("CLASS", "cat")):
            form = form.replace(word, one)
        parse_condition(form)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sined", "did you mean 'signed'"),
        ("recal(each)>=0.9", "did you mean 'recall'"),
        ("latency<=5", "no unit of us, ms, s"),
        ("size<=10 pounds", "no unit of kB, MB, GB"),
        (
            "lower(test/f1)>=0.9",
            "'test/f1' is not measured on each example; expected test/accuracy",
        ),
        ("lower(test/accuracy)<=0.9", "is bounded by >="),
        ("test/loss<=production-0.1", "production is compared by test/accuracy"),
        ("replayed>=three", "a whole number"),
        ("recall>=0.9", "expected test/accuracy, calibration, recall"),
        ("nonsense", "lower(MEASURE)>=0.97, upper(MEASURE)<=0.05, recall(CLASS)>=0.9"),
    ],
)
def test_condition_that_is_none_is_told_what_was_expected(text, told):
    with pytest.raises(UserError, match="gate '") as e:
        parse_condition(text)
    assert told in str(e.value)


def test_commas_within_brackets_part_no_conditions():
    text = "test/accuracy>=0.9,recall(dog, or wolf)>=0.5,signed"
    assert split_conditions(text) == ["test/accuracy>=0.9", "recall(dog, or wolf)>=0.5", "signed"]


# What conditions find out


def test_measures_are_what_numpy_computes_of_the_examples():
    draw = np.random.default_rng(1)
    label, answer = draw.integers(0, 3, (2, 500))
    kept = answered(label, answer, draw.uniform(0.34, 1, 500))
    right = label == answer
    assert measure_accuracy(kept).value() == pytest.approx(right.mean())
    recalls = [right[label == c].mean() for c in range(3)]
    precisions = [right[answer == c].mean() for c in range(3)]
    assert measure_rate(kept, "recall", "owl", CLASSES).value() == pytest.approx(recalls[2])
    assert measure_rate(kept, "recall", "each", CLASSES).value() == pytest.approx(min(recalls))
    found = measure_rate(kept, "precision", "each", CLASSES).value()
    assert found == pytest.approx(min(precisions))
    gaps = []
    for low in np.arange(15) / 15:
        there = (kept.confidence > low) & (kept.confidence <= low + 1 / 15)
        gaps.append(abs(right[there].sum() - kept.confidence[there].sum()))
    assert measure_calibration(kept).value() == pytest.approx(sum(gaps) / 500, rel=1e-5)
    other = answered(label, draw.integers(0, 3, 500))
    gained = right.mean() - other.right.mean()
    assert measure_difference(kept, other).value() == pytest.approx(gained)


@pytest.mark.parametrize(("examples", "right"), [(360, 355), (360, 324), (1000, 700)])
def test_interval_of_accuracy_is_near_the_exact_one(examples, right):
    low, high = measure_accuracy(with_accuracy(examples, right)).interval()
    exact = stats.binomtest(right, examples).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=0.006)


def test_interval_of_answers_that_are_all_right_is_wider_than_nothing():
    low, high = measure_accuracy(with_accuracy(20, 20)).interval()
    assert low < 0.9
    assert high == 1


def test_intervals_hold_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(3)
    population = measure_accuracy(with_accuracy(360, 349))
    right = draw.binomial(360, 0.97, 1000)
    tests = np.stack([360 - right, right], -1)[:, None, :]
    low, high = population.intervals(tests, 400, draw)
    assert 0.93 < ((low <= 0.97) & (high >= 0.97)).mean() < 0.975


def test_not_worse_than_production_is_said_with_its_interval_and_the_answers_that_changed():
    draw = np.random.default_rng(4)
    label = draw.integers(0, 3, 1000)
    before = np.where(np.arange(1000) < 950, label, (label + 1) % 3)
    now = np.where(np.arange(1000) < 970, label, (label + 1) % 3)
    now[:5] = (label[:5] + 1) % 3
    better, worse = answered(label, now), answered(label, before)
    found = judge("test/accuracy>=production-0.01", seen(better, seen(worse)))
    assert found.met
    assert "difference +0.0150, 95 % interval +0.0" in found.said
    assert "(20 answers became right, 5 became wrong)" in found.said
    found = judge("test/accuracy>=production-0.01", seen(worse, seen(better)))
    assert found.refusal.kind == "below the gate"
    assert "the lower end must be >= -0.01" in found.said


def test_production_of_other_data_or_without_answers_is_no_evidence():
    gate, kept = "test/accuracy>=production-0.01", with_accuracy(100, 99)
    assert judge(gate, seen(kept)).met  # production holds nothing yet
    other = replace(with_accuracy(100, 99, 1), data="sha256:e")
    assert judge(gate, seen(kept, seen(other))).refusal.kind == "no evidence"
    assert judge(gate, seen(kept, seen(None))).refusal.kind == "no evidence"
    assert judge(gate, seen(None, seen(kept))).refusal.kind == "no evidence"


def test_bundle_that_keeps_no_answers_is_told_what_helps():
    found = judge("lower(test/accuracy)>=0.9", seen(None))
    assert found.refusal.kind == "no evidence"
    assert "export it again" in found.refusal.cure


def test_floor_of_each_class_names_the_lowest():
    kept = answered([0] * 50 + [1] * 50 + [2] * 50, [0] * 50 + [1] * 40 + [0] * 10 + [2] * 50)
    found = judge("recall(each)>=0.9", seen(kept))
    assert found.refusal is not None
    assert "recall(each) is 0.8 (lowest: dog, or wolf)" in found.said
    assert judge("recall(owl)>=0.9", seen(kept)).met
    assert "no class 'fox'" in judge("recall(fox)>=0.9", seen(kept)).said


def test_budgets_compare_what_was_measured():
    known = {"verdict": {"seconds": {"stablehlo": {"1": 0.004}}}, "bytes": 12_000_000}
    assert judge("latency<=5ms", seen(None, **known)).met
    assert judge("latency<=3ms", seen(None, **known)).said.startswith("one answer takes 4 ms")
    assert not judge("size<=10MB", seen(None, **known)).met
    assert judge("size<=0.1GB", seen(None, **known)).met
    assert judge("latency<=5ms", seen(None, verdict={})).refusal.kind == "no evidence"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ({"commit": "c0ffee", "diff_sha256": None}, ""),
        ({"commit": "c0ffee", "diff_sha256": "d1"}, "below the gate"),
        (None, "no evidence"),
    ],
)
def test_clean_is_code_that_was_committed(code, kind):
    found = judge("clean", seen(None, lineage={"code": code, "harness_code": None}))
    assert (found.refusal.kind if found.refusal else "") == kind


def test_record_of_answers_comes_back_and_nonsense_is_refused():
    kept = with_accuracy(40, 30)
    again = parse_answered(kept.as_bytes())
    assert (again.of, again.data) == (kept.of, kept.data)
    for name in ("example", "label", "answer", "confidence", "truth"):
        np.testing.assert_array_equal(getattr(again, name), getattr(kept, name))
    assert kept.as_bytes() == again.as_bytes()
    for text in (b"", b"x" * 100, replace(kept, truth=kept.truth + 2).as_bytes()):
        with pytest.raises(ValueError, match=r"."):
            parse_answered(text)


# How often a gate errs


def test_error_rates_of_a_bound_on_accuracy_are_those_of_the_binomial():
    examples, right = 360, 355
    population = measure_accuracy(with_accuracy(examples, right))
    rates = find_error_rates(population, lambda t, _: population.measure(t) >= 0.98, 0.97, 20_000)
    least = int(np.ceil(0.98 * examples))
    passes = stats.binom.sf(least - 1, examples, 0.97)
    refused = stats.binom.cdf(least - 1, examples, right / examples)
    assert rates.passes == pytest.approx(passes, abs=0.01)
    assert rates.refused == pytest.approx(refused, abs=0.01)
    assert rates.passes_from is not None
    enough = rates.passes_from
    assert stats.binom.sf(np.ceil(0.98 * enough) - 1, enough, 0.97) < 0.065
    few = enough // 2
    assert stats.binom.sf(np.ceil(0.98 * few) - 1, few, 0.97) > 0.05
    said = parse_condition("test/accuracy>=0.98").chance(seen(with_accuracy(examples, right)))
    assert said.startswith("with 360 examples, a model whose test/accuracy is 0.97 passes 1")


def test_error_rates_of_an_interval_and_of_production_are_small_where_they_say_so():
    kept = with_accuracy(360, 355)
    said = parse_condition("lower(test/accuracy)>=0.97").chance(seen(kept))
    assert "whose test/accuracy is 0.96 passes less than 0.5 %" in said
    population = measure_difference(kept, with_accuracy(360, 345))
    shares = population.shares(-0.02)
    assert population.measure(shares) == pytest.approx(-0.02)
    assert shares.sum() == pytest.approx(1)
    said = parse_condition("test/accuracy>=production-0.01").chance(
        seen(kept, seen(with_accuracy(360, 345)))
    )
    assert "whose test/accuracy minus production's is -0.02 passes" in said


def test_gate_in_which_nothing_is_drawn_states_no_chance():
    assert parse_condition("signed").chance(seen(None)) == ""
    assert "not known" in parse_condition("test/loss<=0.1").chance(seen(None))
