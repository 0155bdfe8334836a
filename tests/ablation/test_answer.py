"""The answer as a reader meets it: whole sentences."""

from dataclasses import replace

from lepton_jax.ablation import Published
from lepton_jax.ablation.analysis.answer import answer_question, describe_comparison
from lepton_jax.ablation.analysis.comparison import analyse
from lepton_jax.ablation.analysis.metric_unit import MetricUnit
from lepton_jax.ablation.analysis.outcomes import Outcome
from lepton_jax.ablation.analysis.published import compare_with_published, published_table
from lepton_jax.ablation.analysis.statistics import Interval
from lepton_jax.ablation.analysis.tables import tuning_rows
from tests.ablation.outcomes import of_values, outcome, results

BASE = [0.930, 0.922, 0.935, 0.927, 0.931]
HELPS = [x + d for x, d in zip(BASE, [0.008, 0.012, 0.004, 0.009, 0.007], strict=True)]
HURTS = [x - d for x, d in zip(BASE, [0.021, 0.019, 0.024, 0.022, 0.020], strict=True)]
UNCLEAR = [x + d for x, d in zip(BASE, [0.003, -0.004, 0.002, 0.005, -0.002], strict=True)]


def told(found) -> str:
    return str(answer_question(analyse(found)))


def test_a_whole_answer():
    found = of_values(
        {"baseline": BASE, "warm-up": UNCLEAR, "dropout 0.5": HURTS, "dropout 0.1": HELPS},
        question="Does dropout help?",
    )
    assert told(found) == (
        "Does dropout help?\n"
        "  dropout 0.1 beats the baseline by 0.8 points (0.4 to 1.2).\n"
        "  dropout 0.5 is worse than the baseline by 2.1 points (1.9 to 2.4).\n"
        "  warm-up: no difference found with 5 seeds (0.1 points, −0.4 to 0.5); about 165 more"
        " seeds would settle a difference of this size.\n"
        "The baseline is baseline, the first variant.\n"
        "Test accuracy, 5 seeds; differences paired by seed, with 95 % intervals; verdicts at 5 %"
        " after Holm's correction for 3 comparisons."
    )


def test_a_loss_is_no_percentage_and_less_is_better():
    found = of_values({"baseline": BASE, "b": HURTS}, metric="loss", mode="min")
    assert "b beats the baseline by 0.021 (0.019 to 0.024)." in told(found)


def test_a_bound_that_is_not_zero_is_never_written_as_zero():
    plain = MetricUnit(1, "", "")
    assert plain.format_difference(0.03, Interval(-0.00312, 0.063)) == "0.03 (−0.0031 to 0.06)"
    decided = plain.format_difference(0.03, Interval(0.00078, 0.059))
    assert decided == "0.030 (0.001 to 0.059)"
    assert plain.format_difference(0.03, Interval(0.0, 0.06)) == "0.03 (0.00 to 0.06)"


def test_the_baseline_is_named_and_one_more_seed_is_no_plural():
    found = of_values({"warm-up 0": BASE, "warm-up 5": UNCLEAR}, baseline="warm-up 0")
    assert "The baseline is warm-up 0, the first variant." in told(found)
    other = of_values({"warm-up 5": UNCLEAR, "warm-up 0": BASE}, baseline="warm-up 0")
    assert "The baseline is warm-up 0.\n" in told(other)
    analysis = analyse(found)
    nearly = replace(analysis.comparisons[0], more_seeds=1)
    assert "; about 1 more seed would settle a" in describe_comparison(nearly, analysis)


def test_an_accuracy_beyond_one_is_not_multiplied():
    values = {"baseline": [100 * x for x in BASE], "b": [100 * x for x in HELPS]}
    assert "b beats the baseline by 0.8 (0.4 to 1.2)." in told(of_values(values))


def test_failures_are_named_with_their_reason():
    outcomes = [outcome("baseline", s, x) for s, x in enumerate(BASE)]
    outcomes += [outcome("b", s, x) for s, x in enumerate(HELPS[:3])]
    outcomes.append(outcome("b", 3, None, state="failed", reason="the loss was not finite."))
    outcomes.append(outcome("b", 4, float("nan")))
    text = told(results(outcomes))
    assert (
        "2 of 10 trials failed and count for nothing: b, seed 3: the loss was not finite; "
        "b, seed 4: its metric is not finite." in text
    )
    assert "3 seeds" in text


def test_trials_that_diverged_are_named():
    outcomes = [outcome("baseline", s, x) for s, x in enumerate(BASE)]
    how = "ended at 4e+19 and began at 2.3000"
    outcomes += [outcome("b", s, 0.1, diverged=how if s else "") for s in range(3)]
    said = f"2 of 8 trials diverged: b, seed 1: the training loss {how}; b, seed 2: the training"
    assert said in told(results(outcomes))


def test_what_has_not_finished_is_said():
    outcomes = [outcome("baseline", 0, 0.9), outcome("b", 0, None, state="running", valid=None)]
    text = told(results(outcomes))
    assert "b: not compared, as b has no result." in text
    assert "Not the last word: 1 of 2 trials have yet to finish (1 running)." in text


def test_one_seed_says_nothing_of_chance():
    text = told(of_values({"baseline": [0.9], "b": [0.92]}))
    assert (
        "b: 2.0 points better than the baseline with 1 seed, which says nothing of chance" in text
    )


def test_no_spread_is_no_proof():
    text = told(of_values({"baseline": [0.5, 0.6, 0.7], "b": [0.51, 0.61, 0.71]}))
    assert "b: 1.0 points better than the baseline with each of 3 seeds; no spread" in text


def test_the_tuning_chosen_on_valid_is_said():
    outcomes = []
    for variant, best in (("baseline", 0.1), ("b", 0.3)):
        for rate in (0.1, 0.3):
            outcomes += [
                # The tuning that is worse on valid is better on test, and is not taken.
                outcome(variant, s, 0.5 - 0.1 * (rate == best), tuning={"optimizer.lr": rate},
                        valid=0.8 + 0.1 * (rate == best))
                for s in range(3)
            ]  # fmt: skip
    text = told(results(outcomes))
    assert "optimizer.lr=0.1 for baseline; optimizer.lr=0.3 for b" in text
    assert "the same result as the baseline" in text


def tuned(variant: str, valid: dict[float, float]) -> list[Outcome]:
    """Outcomes of three seeds at each rate, whose mean on `valid` is given; `test` is 0.7."""
    return [
        outcome(variant, seed, 0.7 + 0.01 * seed, tuning={"optimizer.learning_rate": rate},
                valid=mean + 0.005 * (seed - 1))
        for rate, mean in valid.items()
        for seed in range(3)
    ]  # fmt: skip


def test_one_tuned_variant_is_told_by_its_test_and_the_values_beside_the_best():
    text = told(results(tuned("tuned", {0.005: 0.695, 0.01: 0.698, 0.02: 0.66})))
    assert "tuned: test accuracy 71.0 % (68.5 to 73.5), mean of 3 seeds." in text
    said = "Tuned on valid: optimizer.learning_rate=0.01: valid accuracy 69.8 %; next best 0.005: "
    assert text.splitlines()[-1] == said + "69.5 %."


def test_a_best_value_that_the_seeds_do_not_tell_from_the_next_is_said_and_warns_of_no_edge():
    """At 0.04 the seeds have 0.65, 0.70, 0.75, and at 0.01 they have 0.70, 0.73, 0.66."""
    valid = {0.04: [0.65, 0.70, 0.75], 0.01: [0.70, 0.73, 0.66]}
    trials = [
        outcome("tuned", seed, 0.7 + 0.01 * seed, tuning={"optimizer.learning_rate": x}, valid=y)
        for x, values in valid.items()
        for seed, y in enumerate(values)
    ]
    text = told(results(trials))
    assert text.endswith(
        "The two are not told apart: they differ by 0.3 points, and a seed changes them by 5.0; "
        "to compare them: --vary optimizer.learning_rate=0.04,0.01 --seeds=6"
    )
    one = told(results([trial for trial in trials if trial.seed == 1]))
    assert "and one seed says nothing of chance; to compare them: --vary" in one
    assert "warning" not in text + one
    both = told(results(trials + tuned("b", {0.01: 0.7, 0.03: 0.6}), baseline="b"))
    assert "The best value and the next best are not told apart for tuned:" in both
    assert "warning: the best value of optimizer.learning_rate for b is 0.01" in both


def test_a_best_value_at_the_edge_of_what_was_tried_is_told():
    low, high = {0.01: 0.7, 0.03: 0.6}, {0.01: 0.6, 0.03: 0.7}
    warning = "warning: the best value of optimizer.learning_rate"
    assert f"{warning} is 0.01, the smallest that was tried; try smaller ones" in told(
        results(tuned("tuned", low))
    )
    text = told(
        results(tuned("a", high) + tuned("b", {0.001: 0.5, **high, 0.1: 0.6}), baseline="a")
    )
    assert f"{warning} for a is 0.03, the largest that was tried; try larger ones" in text
    assert text.count("warning: ") == 1
    draws = [outcome("s", 0, 0.7, tuning={"optimizer.learning_rate": x}) for x in (0.1, 0.2)]
    won = outcome("s", 1, 0.7, tuning={"optimizer.learning_rate": 0.2})
    assert "warning: " not in told(results([*draws, won]))


def test_the_table_of_tuning_has_a_row_of_each_value():
    rows = tuning_rows(analyse(results(tuned("tuned", {0.005: 0.695, 0.01: 0.698}))))
    assert [(row["values"], row["chosen"], row["seeds"]) for row in rows] == [
        ("optimizer.learning_rate=0.01", "yes", 3),
        ("optimizer.learning_rate=0.005", "", 3),
    ]
    assert [round(row["valid"], 6) for row in rows] == [0.698, 0.695]
    assert [round(row["sd"], 6) for row in rows] == [0.005, 0.005]


def test_means_of_folds_are_written_with_the_same_decimals():
    wide = [0.60, 0.58, 0.63, 0.61]
    narrow = [0.575, 0.576, 0.5755, 0.5745]
    text = told(of_values({"baseline": narrow, "b": wide}, folds=4))
    assert "baseline: test accuracy 57.5 % (57.4 to 57.7), mean of 4 folds." in text
    assert "b: test accuracy 60.5 % (" in text


def test_an_interval_of_its_own_is_not_enough_among_many():
    slight = [x + d for x, d in zip(BASE, [0.004, 0.009, 0.001, 0.006, 0.008], strict=True)]
    others = {f"v{i}": [x + d * (i + 1) for x, d in zip(BASE, [1e-3, -1e-3] * 3, strict=False)]
              for i in range(9)}  # fmt: skip
    assert "slight beats" in told(of_values({"baseline": BASE, "slight": slight}))
    text = told(of_values({"baseline": BASE, "slight": slight, **others}))
    assert "slight: no difference found with 5 seeds once corrected for 10 comparisons" in text


def test_many_findings_are_summed_up():
    values = {"baseline": BASE} | {f"v{i}": [x + i * 1e-4 for x in HELPS] for i in range(30)}
    text = told(of_values(values))
    assert "26 more beat the baseline: see the table." in text
    assert text.index("v29 beats") < text.index("v28 beats")


def test_a_search_has_no_baseline():
    outcomes = [outcome(f"t{i}", 0, None, valid=0.5 + i / 100) for i in range(5)]
    text = told(results(outcomes, baseline=""))
    assert "t4 is best on valid of 5 variants, with accuracy 54.0 %; the best of many" in text
    assert "failed" not in text


def test_one_variant_is_told_by_its_mean_and_interval():
    text = told(results([outcome("baseline", i, 0.8 + i / 100) for i in range(3)]))
    assert "baseline: test accuracy 81.0 % (78.5 to 83.5), mean of 3 seeds." in text


def test_nothing_has_run_yet():
    outcomes = [outcome("baseline", 0, None, state="waiting", valid=None)]
    assert "No trial has a result." in told(results(outcomes))


def test_published_numbers():
    published = {
        "baseline": Published(0.93, 0.005, "A 2020"),
        "helps": Published(0.92, 0.005, "B 2021"),
        "hurts": Published(0.93, 0.005, "C 2022"),
        "absent": Published(0.9, 0.1, "D 2023"),
    }
    found = of_values({"baseline": BASE, "helps": HELPS, "hurts": HURTS}, published=published)
    rows = compare_with_published(analyse(found))
    assert [r.verdict for r in rows] == [
        "reproduced", "better", "not reproduced", "no result",
    ]  # fmt: skip
    assert [r.reproduced for r in rows] == [True, True, False, False]
    assert rows[0].as_json()["source"] == "A 2020"
    assert published_table(rows, "folds").splitlines()[0].split()[3] == "folds"
    lines = published_table(rows).splitlines()
    assert lines[1].split("  ")[0] == "baseline"
    assert "0.93 ± 0.005" in lines[1]
    assert "0.9290 (sd 0.0048)" in lines[1]
    assert lines[3].endswith("C 2022")
    said = told(found).splitlines()[1:5]
    assert said[2] == (
        "  hurts: not reproduced: 0.9078 (sd 0.0036, 5 seeds) against 0.93 ± 0.005, C 2022."
    )
    assert said[3] == "  absent: no result yet against 0.9 ± 0.1, D 2023."


def test_below_a_published_loss_is_better():
    published = {"baseline": Published(1.0, 0.01, "E")}
    found = of_values({"baseline": [0.9]}, published=published, metric="loss", mode="min")
    (row,) = compare_with_published(analyse(found))
    assert row.verdict == "better"
