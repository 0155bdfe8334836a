"""The worst examples of an evaluation say from which file they come, where the data are files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lepton_jax.config.config_file import load_config
from lepton_jax.training.load_data import load_data, name_worst

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of 8 x 8, each as bright as its number."""
    for i in range(20):
        folder = tmp_path / f"photos/train/{('cat', 'dog')[i % 2]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_the_worst_examples_name_their_files_though_valid_was_taken_out_of_train(photos: Path):
    source = {"name": "folder", "path": str(photos)}
    overrides = {"data.source": source, "data.decode": "grayscale", "data.valid_fraction": "0.3"}
    config, _ = load_config(f"{ROOT}/configs/digits_cnn.py:tiny", overrides)
    data = load_data(config)
    columns = data.splits["valid"]
    results = {"loss": 1.0, "worst": [{"example": i, "loss": 2.0} for i in range(len(columns))]}
    named = name_worst(data, config, "valid", results)
    assert named["loss"] == 1.0
    for example in named["worst"]:
        number = int(columns[example["example"]]["image"].max())
        assert example["file"] == f"train/{('cat', 'dog')[number % 2]}/{number}.png"


def test_examples_that_are_no_files_name_none():
    config, _ = load_config(f"{ROOT}/configs/digits_cnn.py:tiny")
    results = {"worst": [{"example": 0, "loss": 2.0}]}
    assert name_worst(load_data(config), config, "valid", results) == results
