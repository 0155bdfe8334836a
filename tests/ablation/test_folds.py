"""Cross-validation: what an experiment over folds runs, and what its numbers say."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from lepton_jax import api
from lepton_jax.ablation import Experiment, Search, grid, log_uniform
from lepton_jax.ablation.analysis.answer import answer_question
from lepton_jax.ablation.analysis.comparison import analyse
from lepton_jax.ablation.question.experiment_file import experiment_from_flags
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.errors import UserError
from tests.ablation.outcomes import outcome, results
from tests.training.conftest import RECIPE

RATES = grid({"optimizer.learning_rate": (1e-3, 1e-2)})
CV = {"question": "?", "config": RECIPE, "variants": RATES, "seeds": (0, 1), "folds": 3}


def corrected_std(differences: np.ndarray, n_train: int, n_test: int) -> float:
    """As scikit-learn's user guide computes it (after Nadeau & Bengio 2003)."""
    kr = len(differences)
    return np.sqrt(np.var(differences, ddof=1) * (1 / kr + n_test / n_train))


def test_every_variant_and_seed_is_a_trial_on_every_fold():
    trials = expand_trials(Experiment(**CV))
    assert len(trials) == 2 * 2 * 3
    assert [(x.seed, x.fold) for x in trials[:4]] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert {(x.config.data.folds, x.config.data.fold) for x in trials} == {(3, k) for k in range(3)}
    assert len({x.name for x in trials}) == len(trials)
    assert trials[1].name.startswith("learning_rate=0.001-0-fold1-")
    assert len({x.program for x in trials}) == 3  # variants and seeds of a fold share a program


def test_the_mean_over_folds_has_the_interval_of_nadeau_and_bengio():
    rng, folds = np.random.default_rng(0), 10
    easy = rng.normal(0.76, 0.02, folds)
    values = {"baseline": easy, "b": easy + rng.normal(0.01, 0.01, folds)}
    found = results(
        [
            outcome(variant, seed, float(x[k] + (0.004 if seed else -0.004)), fold=k)
            for variant, x in values.items()
            for k in range(folds)
            for seed in (0, 1)
        ],
        folds=folds,
    )
    analysis = analyse(found)
    bound = t.ppf(0.975, folds - 1)
    for summary in analysis.summaries:
        x = values[summary.variant]
        half = bound * corrected_std(x, n_train=900, n_test=100)
        assert summary.mean == pytest.approx(x.mean())
        assert summary.interval.low == pytest.approx(x.mean() - half)
        assert summary.interval.high == pytest.approx(x.mean() + half)
        assert summary.bootstrap is None
    (comparison,) = analysis.comparisons
    d = values["b"] - easy
    error = corrected_std(d, n_train=900, n_test=100)
    assert comparison.paired
    assert comparison.seeds == folds
    assert comparison.p == pytest.approx(2 * t.sf(abs(d.mean()) / error, folds - 1))
    assert comparison.interval.low == pytest.approx(d.mean() - bound * error)
    told = str(answer_question(analysis))
    assert f"baseline: test accuracy {100 * easy.mean():.1f} % (" in told
    assert "mean of 10 folds." in told
    assert "differences paired by fold" in told
    assert "Nadeau & Bengio 2003" in told
    assert "seeds" not in told


def test_a_fold_that_lacks_is_said_and_pairs_are_of_the_folds_that_both_have():
    found = results(
        [outcome("baseline", 0, 0.7 + 0.01 * k, fold=k) for k in range(4)]
        + [outcome("b", 0, 0.75 + 0.012 * k, fold=k) for k in range(3)]
        + [outcome("b", 0, None, fold=3, state="failed", reason="it broke.")],
        folds=4,
    )
    told = str(answer_question(analyse(found)))
    assert "mean of 3 of 4 folds" in told
    assert "b, fold 3, seed 0: it broke" in told
    assert analyse(found).comparisons[0].seeds == 3


def test_what_cannot_be_asked_of_folds_is_refused():
    search = Search(name="s", space={"optimizer.learning_rate": log_uniform(1e-4, 1e-2)}, trials=2)
    for changed, said in (
        ({"folds": 1}, "expected 2 or more"),
        ({"searches": [search]}, "a search compares its draws on one split"),
        ({"changes": {"data.fold": 1}}, "use Experiment.folds"),
    ):
        with pytest.raises(UserError, match=said):
            api.ablate("nowhere", experiment=Experiment(**{**CV, **changed}), dry_run=True)


def test_folds_from_flags_ask_for_the_mean_over_them_and_leave_no_fold_to_choose():
    def ask(overrides: dict[str, Any], vary: list[str], folds: int) -> str:
        return experiment_from_flags(RECIPE, overrides, vary, 1, "accuracy", "", folds).question

    rates = ["optimizer.learning_rate=1e-3,1e-2"]
    assert ask({}, [], 5) == "What is the test accuracy over 5 folds?"
    assert ask({}, [], 0) == "How does accuracy depend on the seed?"
    assert ask({}, rates, 5) == "How does accuracy depend on optimizer.learning_rate?"
    with pytest.raises(UserError, match=r"expected no --config\.data\.fold=2\. For one fold alone"):
        ask({"data.fold": 2}, [], 5)


@pytest.mark.slow
def test_ablate_over_folds_reports_their_mean(tmp_path: Path):
    changes = {"train_for": "10 steps", "evaluate_every": "1 epochs"}
    done = api.ablate(
        str(tmp_path), config={**RECIPE, **changes}, folds=3, seeds=1,
        vary=["optimizer.learning_rate=1e-3,1e-2"], metric="accuracy",
    )  # fmt: skip
    assert done.states == {"finished": 6}
    assert done.as_json()["folds"] == 3
    assert "mean of 3 folds" in done.answer
    table = (tmp_path / "tables/trials.csv").read_text().splitlines()
    assert table[0].startswith("variant,fold,seed,")
    assert len(table) == 7
    alone = api.train(str(next((tmp_path / "trials").glob("*fold2*")) / "config.json"),
                      str(tmp_path / "alone"))  # fmt: skip
    assert math.isfinite(alone.results["test"]["accuracy"])
