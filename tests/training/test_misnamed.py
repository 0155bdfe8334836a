"""A misspelt method is told, as it would leave that of the parent in its place."""

from pathlib import Path

import pytest

from lepton_jax.config.validation import validate_config
from lepton_jax.training.misnamed import misnamed_methods
from tests.training.test_learner import CONFIG


@pytest.fixture(autouse=True)
def user_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "user_project"))


def told(**changes) -> list[str]:
    return list(misnamed_methods(validate_config({**CONFIG, **changes})))


def test_a_misspelt_method_of_a_subclass_is_told_with_its_line():
    (said,) = told(task={"name": "misspelt:Twice"})
    assert said.startswith("Twice.exampel_loss (")
    assert "misspelt.py:9) is called by nothing (did you mean 'example_loss'?)" in said
    assert said.endswith("; example_loss is that of ImageClassification")


def test_a_misspelt_method_of_a_contract_is_told():
    (said,) = told(metrics={"m": {"name": "misspelt:Answers"}})
    assert "Answers.gathred (" in said
    assert said.endswith("(did you mean 'gathered'?); there is no gathered")


@pytest.mark.parametrize("name", ["misspelt:Loss", "heads:ClassAndInk", "gan:GAN"])
def test_methods_that_are_called_are_the_users_own(name: str):
    assert told(task={"name": name}) == []
