"""Every recipe trains, and says where it is from, what to expect, its cost and its command."""

import ast
import re
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax import config_file

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "configs").glob("*.py"))
LARGE = (
    "bccd_detector", "cifar10_fast", "cifar10_googlenet", "cifar10_resnet20",
    "cifar10_vit_finetune", "imagenet_resnet50", "imagenet_vit_s16", "mnist_flow",
)  # fmt: skip
"""Networks that take long to compile, however small the recipe makes them."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=pytest.mark.slow if p.stem in LARGE else (), id=p.stem)
        for p in RECIPES
    ],
)
def test_a_recipe_trains_three_steps_in_its_tiny_form(path: Path, tmp_path: Path):
    run = lepton_jax.train(f"{path}:tiny", str(tmp_path))
    assert run.step == 3
    assert run.results["test"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_is_valid_and_its_docstring_is_a_contract(path: Path):
    config_file.load(str(path))
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    for part in ("After:", "Expected:", "Cost:"):
        assert re.search(rf"^{part} .+|\. {part} .+", doc, re.M), f"{path.name} lacks '{part}'"
    run = f"Run: python launch.py train --config=configs/{path.name} --workdir="
    assert run in doc, f"{path.name} lacks its command"
