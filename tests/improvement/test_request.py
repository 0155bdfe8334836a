"""A retrain request, and the recipe that is made of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from lepton_jax.config.config_file import load_config
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.improvement.config import build_retraining, check_recipe
from lepton_jax.improvement.request import RetrainRequest, read_request

CAUSE = {
    "name": "brightness",
    "strength": -0.4,
    "transform": "brightness",
    "arguments": {"strength": 0.4},
}


def recipe(**data: Any) -> dict[str, Any]:
    tree = load_config("configs/digits_cnn.py")[0].to_dict()
    return {**tree, "data": {**tree["data"], **data}}


def test_request_is_read_as_it_was_written(tmp_path: Path):
    request = RetrainRequest("digits", "kept", CAUSE)
    request.write(str(tmp_path / "retrain.json"))
    assert read_request(str(tmp_path / "retrain.json")) == request
    assert request.augment == "brightness(strength=0.4)"


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"model": None},
        {"cause": {**CAUSE, "transform": "brightness(1)|evil:code"}},
        {"cause": {**CAUSE, "arguments": {"strength": "__import__('os')"}}},
        {"cause": {**CAUSE, "arguments": {"a=1)|b": 1}}},
        {"cause": {"name": "brightness"}},
    ],
)
def test_request_that_was_edited_is_refused(tmp_path: Path, change: dict[str, Any]):
    path = tmp_path / "retrain.json"
    RetrainRequest("digits", "kept", CAUSE).write(str(path))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="no retrain request"):
        read_request(str(path))


def test_recipe_starts_from_the_champion_and_bears_the_cause():
    config = build_retraining(
        recipe(), "w/champion", "w/requests", "brightness(strength=0.4)", {"seed": 7}
    )
    assert config.init_from == "w/champion"
    assert str(config.data.augment) == "pad_crop(1)|brightness(strength=0.4)"
    assert str(config.data.source.keys["sources"]) == "digits()|requests(path='w/requests')"
    assert config.evals["new"].source is not None
    assert config.evals["new"].source.keys["path"] == "w/requests"
    assert config.seed == 7
    assert validate_config(json.loads(config.to_json()), "the file") == config


def test_second_improvement_keeps_the_data_of_the_first():
    first = build_retraining(recipe(), "a/champion", "a/requests").to_dict()
    second = build_retraining(first, "b/champion", "b/requests")
    said = "digits()|requests(path='a/requests')|requests(path='b/requests')"
    assert str(second.data.source.keys["sources"]).replace(", test_fraction=0.25", "") == said


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"name": "npz", "path": "<path>"}, "carries no path"),
        ({"name": "my_pkg.data:mine"}, "code of my_pkg.data"),
    ],
)
def test_what_only_a_bundle_says_is_not_run(source: dict[str, Any], words: str):
    with pytest.raises(UserError, match=words):
        check_recipe(recipe(source=source), "digits/1")
