"""Weights of other classes, as many as the data's, are told of, and can be drawn anew."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lepton_jax import api
from lepton_jax.errors import UserError
from lepton_jax.training.other_classes import read_classes
from tests.laws import read_leaves

RECIPE = str(Path(__file__).parents[2] / "configs/digits_cnn.py:tiny")
CLASSES = "abcdefghij"


@pytest.fixture
def letters(tmp_path: Path) -> dict[str, Any]:
    """Images of ten classes, as many as the recipe's, of its shape."""
    for name in CLASSES:
        folder = tmp_path / "letters" / name
        folder.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((8, 8), 9 * i, np.uint8)).save(folder / f"{i}.png")
    return {"data.source": {"name": "folder", "path": str(tmp_path / "letters")}}


def test_weights_of_other_classes_are_told_of_and_drawn_anew(
    letters: dict[str, Any], tiny_run: Callable[[str], Path], tmp_path: Path
):
    base = tiny_run("digits_cnn")
    given = letters | {"init_from": str(base)}
    found = api.train(RECIPE, tmp_path / "w", overrides=given, dry_run=True).as_json()
    assert found["init_from"].startswith(f"{base}, step 3 (best): 14 of 14 arrays taken over")
    (said,) = [line for line in found["warnings"] if "init_from" in line]
    assert "its classes are 0, 1, 2, 3, 4, ... (10 in all)" in said
    assert "those of the data a, b, c, d, e, ... (10 in all)" in said
    assert "the last layer, head, is taken over" in said
    assert said.endswith("--config.init_fresh='^head'")

    anew = given | {"init_fresh": "^head"}
    found = api.train(RECIPE, tmp_path / "w", overrides=anew, dry_run=True).as_json()
    assert found["init_from"].endswith("12 of 14 arrays taken over; fresh: head.bias, head.kernel")
    assert not [line for line in found.get("warnings", []) if "init_from" in line]


@pytest.mark.slow
def test_what_init_fresh_names_alone_is_drawn(tiny_run: Callable[[str], Path], tmp_path: Path):
    base = tiny_run("digits_cnn")
    given = {"init_from": str(base), "init_fresh": "^head", "train_for": "1 steps"}
    api.train(RECIPE, tmp_path / "w", overrides=given | {"optimizer.learning_rate": 0.0})
    before = read_leaves(base, 3, "state.learner.ema.")
    after = read_leaves(tmp_path / "w", 1, "state.learner.params.")
    other = {name for name, x in after.items() if not np.array_equal(x, before[name])}
    assert other == {"head.bias", "head.kernel"}


def write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def test_the_names_of_classes_are_read_from_whatever_has_weights(tmp_path: Path):
    write_json(tmp_path / "run/provenance.json", {"classes": ["box", "ring"]})
    write_json(tmp_path / "bundle/signature.json", {"labels": ["box", "ring"]})
    write_json(tmp_path / "folder/config.json", {"id2label": {"0": "box", "1": "ring"}})
    for path in ("run", "run/checkpoints/8", "bundle", "folder"):
        assert read_classes(str(tmp_path / path)) == ("box", "ring"), path
    write_json(tmp_path / "old/provenance.json", {})
    write_json(tmp_path / "unnamed/config.json", {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    for path in ("old", "unnamed", "nowhere"):
        assert read_classes(str(tmp_path / path)) == (), path


def test_a_pattern_that_draws_nothing_anew_is_refused(
    tiny_run: Callable[[str], Path], tmp_path: Path
):
    given = {"init_from": str(tiny_run("digits_cnn")), "init_fresh": "^haed"}
    with pytest.raises(UserError, match=r"init_fresh = '\^haed' matches no .*head\.bias"):
        api.train(RECIPE, tmp_path / "w", overrides=given, dry_run=True)
    with pytest.raises(UserError, match=r"init_fresh: '\^head' needs init_from"):
        api.train(RECIPE, tmp_path / "w", overrides={"init_fresh": "^head"}, dry_run=True)
