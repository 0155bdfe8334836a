import io

import numpy as np
import pytest
from PIL import Image

from lepton_jax.io import files
from lepton_jax.plots import figures

pytestmark = pytest.mark.usefixtures("rendered_figures")


def picture(path) -> np.ndarray:
    image = Image.open(io.BytesIO(files.read_bytes(path)))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def curve_rows(steps: int = 500) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    rows: list[dict[str, float]] = []
    for step in range(10, steps + 1, 10):
        loss = 2.3 * np.exp(-step / 150) + 0.05 * rng.random()
        rows.append({"step": step, "train/loss": loss, "train/accuracy": 1 - loss / 2.5})
        if step % 50 == 0:
            valid = {"loss": loss + 0.1, "accuracy": 0.95 - loss / 2.5, "f1": 0.94 - loss / 2.5}
            rows.append({"step": step} | {f"valid/{k}": v for k, v in valid.items()})
    return rows


def test_learning_curves_have_a_panel_a_metric(tmp_path):
    figures.draw_learning_curves(curve_rows(), tmp_path / "three.png")
    figures.draw_learning_curves([{"step": 1, "train/loss": 1.0}], tmp_path / "one.png")
    assert picture(tmp_path / "three.png").shape[1] == 3 * picture(tmp_path / "one.png").shape[1]
    pixels = picture(tmp_path / "three.png").reshape(-1, 3)
    for colour in ("train", "valid"):
        wanted = np.array([int(figures._COLOURS[colour][i : i + 2], 16) for i in (1, 3, 5)])
        assert (pixels == wanted).all(axis=1).any()


def test_the_same_rows_give_the_same_file(tmp_path):
    for name in ("a.png", "b.png"):
        figures.draw_learning_curves(curve_rows(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_rows_and_no_finite_numbers_are_still_a_picture(tmp_path):
    figures.draw_learning_curves([], tmp_path / "a.png")
    figures.draw_learning_curves([{"step": 1, "train/loss": float("nan")}], tmp_path / "b.png")
    assert picture(tmp_path / "a.png").size
    assert picture(tmp_path / "b.png").size


def test_a_confusion_matrix_is_dark_where_the_examples_are(tmp_path):
    perfect, swapped = np.diag([30, 30]), np.array([[0, 30], [30, 0]])
    figures.draw_confusion_matrix(perfect, ("cat", "dog"), tmp_path / "perfect.png")
    figures.draw_confusion_matrix(swapped.tolist(), ("cat", "dog"), tmp_path / "swapped.png")
    assert not (picture(tmp_path / "perfect.png") == picture(tmp_path / "swapped.png")).all()


def test_a_class_that_never_occurs_and_many_classes(tmp_path):
    figures.draw_confusion_matrix([[0, 0], [1, 2]], ("a", "b"), tmp_path / "absent.png")
    many = np.eye(200) * 7
    figures.draw_confusion_matrix(many, [f"class {i}" for i in range(200)], tmp_path / "many.png")
    assert picture(tmp_path / "absent.png").size
    assert picture(tmp_path / "many.png").shape[0] < 3000


def test_pictures_go_to_a_bucket(bucket):
    figures.draw_learning_curves(curve_rows(), "gs://b/run/curves.png")
    figures.draw_confusion_matrix(np.eye(3), "abc", "gs://b/run/confusion.png")
    assert picture("gs://b/run/curves.png").size
    assert bucket.puts == ["gs://b/run/curves.png", "gs://b/run/confusion.png"]
