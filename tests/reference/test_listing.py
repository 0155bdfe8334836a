"""`list` and `describe` as they are asked, and that they do not wait for JAX."""

import subprocess
import sys
from pathlib import Path

import pytest

from lepton_jax import api
from lepton_jax.config.components import TABLES
from tests.golden.door import json_of, launch

ROOT = Path(__file__).parent.parent.parent


def test_whatever_is_listed_is_described():
    for kind in api.list().as_json()["items"]:
        listed = api.list([kind["name"]]).as_json()
        assert len(listed["items"]) == kind["count"]
        for item in listed["items"]:
            assert item["summary"]
            assert str(api.describe([listed["kind"].replace(" ", "_"), item["name"]]))


def test_every_kind_of_component_is_listed():
    listed = {item["name"] for item in api.list().as_json()["items"]}
    assert len(listed) == len(TABLES) + 2
    assert {"models", "strategies", "host_transforms", "recipes", "experiments"} <= listed


def test_a_recipe_shows_the_keys_that_it_sets_and_those_of_its_form():
    whole, tiny = (json_of("describe", f"recipe digits_cnn{form}") for form in ("", ":tiny"))
    assert whole["keys"]["batch_size"] == 32
    assert tiny["keys"]["batch_size"] == 8
    assert tiny["form"] == "tiny"
    defaults = {"seed", "schedule.name", "strategy.name", "writers.tensorboard.name"}
    assert whole["keys"]["schedule.name"] == "cosine"
    assert not defaults & json_of("describe", "recipe mnist1d_mlp")["keys"].keys()


def test_a_recipe_says_its_parts_its_cost_and_its_forms():
    recipes = {r["name"]: r for r in json_of("list", "recipes")["items"]}
    assert recipes.keys() == {path.stem for path in (ROOT / "configs").glob("*.py")}
    resnet = recipes["cifar10_resnet20"]
    assert (resnet["task"], resnet["model"]) == ("image_classification", "resnet")
    assert resnet["data"] == "tfds cifar10"
    assert resnet["cost"].startswith("6 minutes on an H100")
    assert "tiny" in resnet["forms"]


def test_a_key_is_described_with_its_type_range_default_and_marks():
    key = {k["name"]: k for k in json_of("describe", "model", "cnn")["keys"]}["dropout"]
    assert key.pop("meaning") == "The rate of dropout before the last layer."
    assert key == {
        "name": "dropout", "type": "float in [0, 1)", "default": "0.0",
        "required": False, "trialable": True, "running": False,
    }  # fmt: skip
    (key,) = json_of("describe", "config.data.workers")["keys"]
    assert (key["type"], key["default"], key["running"]) == ("int >= 0 or None", "None", True)


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (["cnn"], "model cnn"),
        (["models", "cnn"], "model cnn"),
        (["model cnn"], "model cnn"),
        (["host", "transform", "resize"], "host transform resize"),
        (["host-transform", "resize"], "host transform resize"),
        (["config.optimizer.groups.norms.pattern"], "config.optimizer.groups.NAME.pattern"),
        (["config.model.name"], "config.model"),
        (["config.model.dropout"], "config.model.dropout"),
        (["config.schedule.warmup"], "config.schedule.warmup"),
        (["config.optimizer.b1"], "config.optimizer.b1"),
        (["config.metrics.top5.k"], "config.metrics.top5.k"),
        (["data.workers"], "config.data.workers"),
    ],
)
def test_words_are_understood_as_people_write_them(words: list[str], title: str):
    assert api.describe(words).as_json()["title"] == title


@pytest.mark.parametrize(
    ("words", "said", "again"),
    [
        ("describe modl cnn", "no kind 'modl' (did you mean 'model'?)", "describe model cnn"),
        ("describe config data.workers", "in one word", "describe config.data.workers"),
        ("describe model cn", "is called 'cn' (did you mean 'cnn'?)", "describe model cnn"),
        ("describe resnet20", "(did you mean 'model resnet'?)", "describe model resnet"),
        ("describe text", "expected answer text or encoding text", "describe answer text"),
        ("describe models", "expected the name of a model too", "list models"),
        ("describe model cnn vit", "describe takes one name, got cnn vit", ""),
        ("describe model nowhere:Net", "there is no module 'nowhere'", ""),
        ("describe config.data.worker", "mean 'workers'?)", "describe config.data.workers"),
        ("describe config.data.lr", "config.data has no key 'lr'; there are: source", ""),
        ("describe config.optimizer.b9", "and those of the optimizer", "list optimizers"),
        (
            "describe config.schedule.wramup",
            "config.schedule: no schedule has a key 'wramup' (did you mean 'warmup'?)",
            "describe config.schedule.warmup",
        ),
        ("describe config.schedule.xyz", "has a key 'xyz'", "describe config.schedule"),
        ("describe config.data.augment.x", "joined by '|'; it has no key 'x'", ""),
        ("describe config.seed.x", "config.seed is int in [0, 2^32); it has no key 'x'", ""),
        ("describe recipe digit_cnn", "mean 'digits_cnn'?)", "describe recipe digits_cnn"),
        (
            "describe recipe digits_cnn:tinny",
            "no form ':tinny' (did you mean 'tiny'?)",
            "describe recipe digits_cnn:tiny",
        ),
        ("describe recipe nothere.py", "there is no file nothere.py", ""),
        ("describe", "expected a name", "list"),
        ("list modles", "(did you mean 'models'?)", "list models"),
        ("list zebras", "there are: models, tasks", ""),
    ],
)
def test_a_mistake_names_the_nearest(words: str, said: str, again: str):
    done = launch(*words.split())
    assert done.code == 2
    sentence, *tries = done.err.splitlines()
    assert said in sentence
    assert tries == ([f"Try: python launch.py {again}"] if again else [])


@pytest.mark.parametrize("words", ["list models", "list optimizers", "describe optimizer muon"])
def test_an_answer_does_not_import_jax(words: str):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['launch.py', *{words.split()}]\n"
        "try: runpy.run_path('launch.py', run_name='__main__')\n"
        "except SystemExit as e: assert not e.code\n"
        "assert not {'jax', 'numpy', 'optax', 'flax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    texts = (str(api.list(["models"])), str(api.describe(["model", "transformer"])))
    lines = [line for text in texts for line in text.splitlines()]
    of_words = [line for line in lines if " " in line.strip() and not line.startswith("More:")]
    assert max(map(len, of_words)) <= 40
