"""Recipes and experiments are found by their names from any folder; a user's own come first."""

from pathlib import Path

import pytest

from lepton_jax.ablation.question.experiment_file import load_experiment
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.config.config_file import load_config
from lepton_jax.config.recipes import find_recipe, list_recipes
from lepton_jax.errors import UserError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_recipe_and_experiment_has_the_name_of_its_file():
    for folder in ("configs", "experiments"):
        files = {path.stem: str(path) for path in (ROOT / folder).glob("*.py")}
        assert list_recipes(folder) == files  # type: ignore[arg-type]


def test_a_name_is_the_file_of_that_name(elsewhere: Path):
    by_name, _ = load_config("digits_cnn:tiny", {"seed": 3})
    by_path, _ = load_config(f"{ROOT}/configs/digits_cnn.py:tiny", {"seed": 3})
    assert by_name == by_path


@pytest.mark.parametrize("name", list_recipes("experiments"))
def test_an_experiment_finds_its_configs_from_any_folder(elsewhere: Path, name: str):
    assert expand_trials(load_experiment(name))


def test_a_users_own_recipe_comes_first_and_that_is_said(elsewhere: Path, capsys):
    own = elsewhere / "configs/digits_cnn.py"
    own.parent.mkdir()
    own.write_text((ROOT / "configs/mnist1d_mlp.py").read_text())
    assert load_config("digits_cnn")[0] == load_config("mnist1d_mlp")[0]
    assert "--config=digits_cnn is configs/digits_cnn.py here" in capsys.readouterr().err


def test_in_the_repository_a_name_is_its_own_file(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(ROOT)
    assert find_recipe("digits_cnn") == "configs/digits_cnn.py"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("digit_cnn", "did you mean 'digits_cnn'?"),
        ("configs/digits_cnn.py", "the name of lepton_jax's recipe is digits_cnn"),
        ("qqqq", "there are: bccd_detector"),
        ("", "a config is a recipe's name"),
    ],
)
def test_a_name_that_is_none_says_which_there_are(elsewhere: Path, given: str, said: str):
    with pytest.raises(UserError) as e:
        load_config(given)
    assert said in str(e.value)
    assert "\n" not in str(e.value)
