"""Runs with every augmentation: the same wherever they are placed, and of one program."""

from pathlib import Path

import pytest

from lepton_jax.config import config_file
from lepton_jax.config.trialable import hyper_of, program_key
from tests.cells import CELLS, JIT, ROOT, Cell, train_in
from tests.laws import NUMBERS, difference

RECIPE = f"{ROOT}/configs/digits_cnn.py"
AUGMENT = (
    "pad_crop(1)|random_resized_crop(0.5)|brightness(0.2)|contrast(0.2)|rand_augment(1, 4.0)"
    "|mixup(0.4, 0.5)|cutmix(1.0, 0.5)"
)


def flags(**more: str) -> list[str]:
    keys = {"data.augment": AUGMENT, "precision": "float64", "train_for": "12 steps",
            "batch_size": "16", "log_every": "1 steps", **more}  # fmt: skip
    return [f"--config.{k}={v}" for k, v in keys.items()]


def check(cell: Cell, accumulate: str, tmp_path: Path) -> None:
    more = {"data.augment": AUGMENT, "accumulate": accumulate, "batch_size": "16",
            "train_for": "6 steps", "evaluate_every": "6 steps"}  # fmt: skip
    for place, name in ((JIT, "alone"), (cell, "spread")):
        train_in(place, Path(RECIPE), tmp_path / name, **more)
    for name, found in difference(tmp_path / "alone", tmp_path / "spread", NUMBERS).items():
        assert found < 1e-10, name


@pytest.mark.slow
def test_every_augmentation_is_the_same_on_eight_devices(tmp_path: Path):
    check(CELLS[1], "1", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", ["1", "2"])
@pytest.mark.parametrize("cell", CELLS[1:4:2], ids=lambda c: c.name)
def test_every_augmentation_is_the_same_wherever_it_is(cell: Cell, accumulate, tmp_path: Path):
    check(cell, accumulate, tmp_path)


@pytest.mark.slow
def test_every_augmentation_is_the_same_in_two_processes(tmp_path: Path):
    cell = next(c for c in CELLS if c.processes == 2)
    recipe = f"--config={RECIPE}:tiny"
    JIT.finish(tmp_path / "alone", [recipe, *flags()])
    cell.finish(tmp_path / "spread", [recipe, *flags()])
    for name, found in difference(tmp_path / "alone", tmp_path / "spread", NUMBERS).items():
        assert found < 1e-10, name


def test_strengths_vary_without_a_new_program():
    def key(augment: str) -> str:
        return program_key(config_file.load_config(RECIPE, {"data.augment": augment})[0])

    assert key(AUGMENT) == key(AUGMENT.replace("0.2", "0.3").replace("0.4", "0.8"))
    assert key(AUGMENT) != key(AUGMENT.replace("0.2", "0.0"))  # off is another program
    augment = hyper_of(config_file.load_config(RECIPE, {"data.augment": AUGMENT})[0])["augment"]
    assert augment[-2:] == [{"alpha": 0.4, "probability": 0.5}, {"alpha": 1.0, "probability": 0.5}]
