"""A run that generates: its bundle makes the same image of a seed wherever it runs, and draws."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lepton_jax
from lepton_jax import api
from lepton_jax.errors import UserError
from lepton_jax.serving import loader

ROOT = Path(__file__).parent.parent


@pytest.fixture(
    scope="module", params=["mnist_vae", pytest.param("mnist_flow", marks=pytest.mark.slow)]
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp(request.param) / "run"
    lepton_jax.train(f"{ROOT}/configs/{request.param}.py:tiny", str(workdir))
    api.export(str(workdir), str(workdir / "bundle"))
    return workdir


def test_a_verified_bundle_makes_the_same_image_of_a_seed(run: Path):
    assert api.verify(str(run / "bundle")).ok
    found = api.predict(["7", "4000000000", "7"], bundle=str(run / "bundle"), examples=8)
    images = np.array([a.outputs["image"] for a in found.answers])
    assert images.shape == (11, 8, 8, 1)
    np.testing.assert_array_equal(images[8], images[10])
    assert np.abs(images[7] - images[8]).max() <= 1  # example 7 has the seed 7
    assert len(np.unique(images, axis=0)) >= 9
    assert "seed 4000000000" in str(found)
    assert "as labelled" not in str(found)
    json.dumps(found.as_json())
    for wrong in ("-1", "4294967296", "seven.png"):
        with pytest.raises(UserError, match="whole numbers below"):
            api.predict([wrong], bundle=str(run / "bundle"))


def test_samples_are_drawn_of_fixed_seeds(run: Path):
    drawn = Image.open(run / "samples.png")
    written = (run / "samples.png").read_bytes()
    seeds = np.arange(64, dtype=np.uint32)
    images = loader.load_bundle(run / "bundle").predict({"seed": seeds})["image"]
    scale = drawn.width // (8 * 9 + 1)
    pixels = np.asarray(drawn)[::scale, ::scale].astype(int)
    for i in (0, 9, 63):
        top, left = i // 8 * 9 + 1, i % 8 * 9 + 1
        gap = pixels[top : top + 8, left : left + 8] - images[i, ..., 0]
        assert np.abs(gap).max() <= 1
    (run / "samples.png").unlink()
    results = json.loads((run / "results.json").read_text())
    evaluated = api.evaluate(str(run), split="test")
    assert evaluated.results["loss"] == pytest.approx(results["test"]["loss"], rel=1e-6)
    assert (run / "samples.png").read_bytes() == written
