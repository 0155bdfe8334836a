"""Every experiment file loads, its variants are valid configs, its numbers have sources."""

from pathlib import Path

import pytest

from lepton_jax.ablation.question import experiment_file
from lepton_jax.ablation.question.trials import expand_trials

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda p: p.stem)
def test_an_experiment_becomes_trials(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = experiment_file.load_experiment(str(path))
    trials = expand_trials(found)
    runs = len(found.variants) * len(found.seeds) * (found.folds or 1)
    assert len({t.name for t in trials}) == runs
    assert all(p.source and p.tolerance > 0 for p in found.published.values())


def test_mnist1d_is_four_models_on_two_versions_of_the_data(monkeypatch):
    monkeypatch.chdir(ROOT)
    trials = expand_trials(experiment_file.load_experiment("experiments/mnist1d.py"))
    models = {(t.config.model.name, t.config.data.source.keys["shuffled"]) for t in trials}
    assert len(trials) == 40
    assert models == {(m, s) for m in ("mlp", "conv1d", "gru") for s in (False, True)}
    assert len({t.program for t in trials}) == 8
