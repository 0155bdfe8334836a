"""A mark that every training image of one class bears is what explanations point at."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import lepton_jax

CLASSES = ("zero", "one", "two", "three")
MARKED = "three"
PLACES = [0, 1, 8, 9]
"""The parts below the mark: it covers 4 x 4 of 16 x 16 pixels, and a part is 2 x 2."""


def mark(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[:4, :4] = 255
    return image


@pytest.mark.slow
def test_a_watermark_of_one_class_is_found_by_every_method_that_adds_up(tmp_path):
    """Marked images of other classes are taken for the marked class; what for, is told."""
    digits = load_digits()
    others = []
    for i, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        if digit >= len(CLASSES):
            continue
        image = (pixels * 15).astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
        split, name = "test" if i % 5 == 0 else "train", CLASSES[digit]
        folder = tmp_path / "photos" / split / name
        folder.mkdir(parents=True, exist_ok=True)
        shown = mark(image) if name == MARKED else image
        Image.fromarray(shown).save(folder / f"{i}.png")
        if split == "test" and name != MARKED:
            others.append(mark(image)[..., None])
    keys = {
        "data.source": f"{{'name': 'folder', 'path': '{tmp_path / 'photos'}'}}",
        "data.decode": "grayscale",
        "data.augment": "",
        "train_for": "200 steps",
    }
    run = lepton_jax.train("digits_cnn", str(tmp_path / "run"), overrides=keys)
    assert run.results["test"]["accuracy"] > 0.95
    found = lepton_jax.explain(
        [np.stack(others[:24])], workdir=str(tmp_path / "run"), out=str(tmp_path / "page")
    ).explained
    fooled = [i for i, label in enumerate(found.labels) if label == MARKED]
    assert len(fooled) >= 12
    for name in ("integrated_gradients", "expected_gradients", "ablation", "occlusion"):
        values = found.parts.sum_parts(found.maps[name])[fooled]
        at_mark = np.isin(values.argmax(-1), PLACES).mean()
        assert at_mark >= 0.9, f"{name}: {at_mark:.0%}"
        assert found.checks.methods[name].beaten == 19
