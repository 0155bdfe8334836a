"""Where a run is placed changes its speed, never what it computes.

In float64 sums in another order agree to 1e-10 or so; anything that computes something else, such
as a wrong scale of a gradient, a mask drawn twice or a mean of means, does not. Losses and gradient
norms are both compared, as Adam hides a wrong scale.
"""

import functools
from pathlib import Path

import pytest

from benchmarks.cells import CELLS, JIT, Cell, difference
from lepton_jax import api

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "configs").glob("*.py"))
HERE = [cell for cell in CELLS if cell.processes == 1]
NUMBERS = ("train/loss", "train/grad_norm", "valid/loss")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    """The record of a recipe's run on one device."""

    @functools.cache
    def run(recipe: Path) -> Path:
        workdir = tmp_path_factory.mktemp(recipe.stem)
        train(recipe, JIT, workdir)
        return workdir

    return run


def train(recipe: Path, cell: Cell, workdir: Path, **more: str) -> None:
    keys = {f"strategy.{name}": str(value) for name, value in cell.strategy.items()}
    if cell.strategy["name"] == "pmap":
        keys["strategy.devices_used"] = str(cell.devices)
    elif cell.devices == 2:
        keys["strategy.data"] = "2"
    overrides = {
        "precision": "float64",
        "train_for": "50 steps",
        "batch_size": "8",
        "log_every": "1 steps",
        "evaluate_every": "25 steps",
        "checkpoint_every": "50 steps",
        **keys,
        **more,
    }
    api.train(f"{recipe}:tiny", str(workdir), overrides=overrides)


def check(recipe: Path, cell: Cell, alone, tmp_path: Path) -> None:
    train(recipe, cell, tmp_path)
    for name, found in difference(alone(recipe), tmp_path, NUMBERS).items():
        assert found < 1e-10, name


@pytest.mark.parametrize("name", ["digits_cnn"])
def test_a_recipe_computes_the_same_on_eight_devices(name: str, alone, tmp_path: Path):
    check(ROOT / f"configs/{name}.py", CELLS[1], alone, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("cell", HERE, ids=lambda c: c.name)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_computes_the_same_wherever_it_is(
    recipe: Path, cell: Cell, alone, tmp_path: Path
):
    if cell.tensor and not {"decoder", "vit"} & set(recipe.stem.split("_")):
        pytest.skip("its layers are not to be split")
    check(recipe, cell, alone, tmp_path)
