"""Where a run is placed changes its speed, never what it computes.

In float64 sums in another order agree to 1e-10 or so; anything that computes something else, such
as a wrong scale of a gradient, a mask drawn twice or a mean of means, does not. Losses and gradient
norms are both compared, as Adam hides a wrong scale.
"""

import functools
from pathlib import Path
from typing import Any

import pytest

from tests.cells import CELLS, JIT, Cell, train_in
from tests.laws import NUMBERS, difference

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "configs").glob("*.py"))
OF_IMAGES = ("bccd", "cifar10", "digits", "fashion", "imagenet", "mnist")
CALM = {"cifar10_googlenet": {"optimizer.learning_rate": "0.001"}}
"""Recipes that are trained at a lower rate here. At 8 examples a step GoogLeNet's rate of 0.1
multiplies any error by three at each step: the next float after 0.1 changes the loss by 1e-8."""
HERE = [cell for cell in CELLS if cell.processes == 1]


@pytest.fixture(scope="class")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """The record of a recipe's run on one device."""

    @functools.cache
    def run(recipe: Path) -> Path:
        workdir = tmp_path_factory.mktemp(recipe.stem)
        train_in(JIT, recipe, workdir, **CALM.get(recipe.stem, {}))
        return workdir

    return run


def check(recipe: Path, cell: Cell, alone, tmp_path: Path) -> None:
    train_in(cell, recipe, tmp_path, **CALM.get(recipe.stem, {}))
    for name, found in difference(alone(recipe), tmp_path, NUMBERS).items():
        assert found < 1e-10, name


@pytest.mark.parametrize("name", ["digits_cnn"])
def test_a_recipe_computes_the_same_on_eight_devices(name: str, alone, tmp_path: Path):
    check(ROOT / f"configs/{name}.py", CELLS[1], alone, tmp_path)


SMALL = ("digits_cnn", "markov_decoder", "mnist_vae")
"""A CNN with running statistics, a Transformer whose layers can be split, a task that draws."""


def spread_cells() -> list[Any]:
    """Pairs every small recipe with every placement, and every other one with two of them: with
    sharded parameters, where most can go wrong, and with another in turn.
    """
    pairs = []
    for i, recipe in enumerate(RECIPES):
        can = [c for c in HERE if not c.tensor or {"decoder", "vit"} & set(recipe.stem.split("_"))]
        fsdp = next(c for c in can if "fsdp" in c.strategy)
        others = [c for c in can if c is not fsdp]
        cells = can if recipe.stem in SMALL else [fsdp, others[i % len(others)]]
        pairs += [pytest.param(recipe, c, id=f"{recipe.stem}-{c.name}") for c in cells]
    return pairs


# Two classes, as two processes of the suite share the work by class.
IMAGES, OTHERS = [
    [pair for pair in spread_cells() if pair.values[0].stem.startswith(OF_IMAGES) is of_images]
    for of_images in (True, False)
]


class EveryRecipe:
    def test_every_recipe_computes_the_same_wherever_it_is(
        self, recipe: Path, cell: Cell, alone, tmp_path: Path
    ):
        check(recipe, cell, alone, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "cell"), IMAGES)
class TestImages(EveryRecipe):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "cell"), OTHERS)
class TestSequences(EveryRecipe):
    pass
