"""Data without a split 'test': what lacks is said, with what to do."""

from pathlib import Path

import numpy as np
import pytest

from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS

CONFIG = "--config=digits_cnn:tiny"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags for 40 images of two classes, without 'test'; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    label = np.arange(40) % 2
    image = np.repeat(label, 64).reshape(40, 8, 8, 1).astype(np.uint8) * 200
    np.savez("few.npz", train_image=image, train_label=label)
    return ["--config.data.source.name=npz", "--config.data.source.path=few.npz"]


def test_a_run_says_what_lacks_and_evaluate_names_the_pictures_that_it_draws(
    images: list[str], capsys: pytest.CaptureFixture[str]
):
    assert run_line(COMMANDS, ["train", CONFIG, "--workdir=w", *images])[0] == 0
    said = capsys.readouterr().err
    assert "no split 'test': no test numbers, no confusion.png, no mistakes.png. Try: " in said
    assert "evaluate --workdir=w --split=valid, or a new run with --config.data.folds=5" in said
    assert run_line(COMMANDS, ["evaluate", "--workdir=w", "--split=valid"])[0] == 0
    told = capsys.readouterr().out.splitlines()
    (pictures,) = [line for line in told if line.startswith("pictures: ")]
    assert pictures == "pictures: w/confusion_valid.png, w/mistakes_valid.png"
    assert all(Path(name).is_file() for name in pictures.removeprefix("pictures: ").split(", "))


def test_an_ablation_is_told_to_hold_out_folds(
    images: list[str], capsys: pytest.CaptureFixture[str]
):
    line = ["ablate", CONFIG, "--workdir=a", "--metric=accuracy", "--seeds=1", "--dry_run", *images]
    assert run_line(COMMANDS, line)[0] == 2
    assert capsys.readouterr().err.rstrip().endswith(f"{' '.join(line)} --folds=5")
    assert run_line(COMMANDS, [*line, "--folds=5"])[0] == 0
