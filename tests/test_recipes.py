"""Every recipe trains, and says where it is from, what to expect, its cost and its command."""

import ast
import re
from pathlib import Path

import pytest

from lepton_jax.config import config_file
from lepton_jax.tracking.record import Record

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "configs").glob("*.py"))
QUICK = ("digits_cnn", "mnist_vae", "scan_simple", "shakespeare_gpt")
"""Images, a draw, a translation, a text; the others are tried out in `make test-all`."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.slow, id=p.stem)
        for p in RECIPES
    ],
)
def test_a_recipe_trains_three_steps_in_its_tiny_form(path: Path, tiny_run):
    record = Record.open(str(tiny_run(path.stem)))
    status = record.status()
    assert (status["state"], status["step"]) == ("finished", 3)
    assert record.results()["test"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_is_valid_and_its_docstring_is_a_contract(path: Path):
    config_file.load_config(str(path))
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    for part in ("After:", "Expected:", "Cost:"):
        assert re.search(rf"^{part} .+|\. {part} .+", doc, re.M), f"{path.name} lacks '{part}'"
    run = f"Run: lepton train --config={path.stem} --workdir="
    assert run in doc, f"{path.name} lacks its command"
