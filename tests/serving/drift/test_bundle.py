"""The reference that a bundle holds: what is in it, that it is checked, and what it explains."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load, save
from scipy import ndimage, stats

from lepton_jax.export.drift_reference import make_reference
from lepton_jax.export.raw_inputs import describe_inputs
from lepton_jax.export.shifts import shift_images
from lepton_jax.export.verify_reference import check_reference
from lepton_jax.serving.drift.causes import Cause, rank_causes
from lepton_jax.serving.drift.image_statistics import measure_images
from lepton_jax.serving.drift.measured import measure_examples
from lepton_jax.serving.drift.reference import DESCRIPTION, MOST_BYTES, TABLE, read_reference
from lepton_jax.serving.loader import BundleError, load_bundle
from lepton_jax.transforms.blur import blur_image
from lepton_jax.transforms.colour import blend_images, grey_image, mean_grey
from tests.graduation import digits_data, rewrite_manifest, trained_run, verified_bundle

TEST = digits_data().splits["test"].columns
COLOURED = np.random.default_rng(0).integers(0, 256, (4, 9, 11, 3), np.uint8)


def test_a_bundle_holds_few_numbers_of_held_out_examples_and_no_example(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    bundle = verified_bundle(tmp_path_factory)
    reference = read_reference(bundle)
    assert reference is not None
    assert sum((bundle / name).stat().st_size for name in (DESCRIPTION, TABLE)) < MOST_BYTES
    assert reference.splits == {"valid": 137, "test": 360}
    assert reference.correct is not None
    assert len(reference) == 497
    assert 0.9 < reference.correct.mean() < 1
    model = trained_run(tmp_path)
    files = make_reference(model, describe_inputs(model))
    assert files == {name: (bundle / name).read_bytes() for name in files}, "the same bytes again"
    pixels = np.asarray(TEST["image"])[:50].reshape(50, -1)
    assert not any(row.tobytes() in files[TABLE] for row in pixels)


def test_verify_looks_at_the_reference(bundle: Path):
    checks = json.loads((bundle / "verdict.json").read_text())["checks"]
    check = next(c for c in checks if c["name"] == "drift")
    assert check["ok"]
    assert "12 statistics of 497 held-out examples" in check["detail"]
    said = json.loads((bundle / DESCRIPTION).read_text())
    said["statistics"][0] = "image.something"
    (bundle / DESCRIPTION).write_text(json.dumps(said))
    rewrite_manifest(bundle)
    loaded = load_bundle(bundle)
    assert check_reference(loaded, loaded.examples())[1] is False


def test_an_older_bundle_loads_and_says_that_it_has_none(bundle: Path):
    for name in (DESCRIPTION, TABLE):
        (bundle / name).unlink()
    rewrite_manifest(bundle)
    assert load_bundle(bundle).predict({"image": np.asarray(TEST["image"])[:2]})
    loaded = load_bundle(bundle)
    assert check_reference(loaded, loaded.examples())[1] is None


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 2},
        {"classes": -1},
        {"classes": 3},
        {"statistics": ["image.brightness"]},
        {"statistics": "abc"},
        {"responses": [{"transform": "blur"}]},
        {"splits": []},
    ],
)
def test_a_damaged_description_is_one_clear_error(bundle: Path, damage: dict):
    said = json.loads((bundle / DESCRIPTION).read_text()) | damage
    (bundle / DESCRIPTION).write_text(json.dumps(said))
    with pytest.raises(BundleError, match=r"reference\.json"):
        read_reference(bundle)


@pytest.mark.parametrize("damage", ["nan", "short", "label", "bytes", "absent"])
def test_a_damaged_table_is_one_clear_error(bundle: Path, damage: str):
    arrays = load((bundle / TABLE).read_bytes())
    if damage == "nan":
        arrays["values"] = np.full_like(arrays["values"], np.nan)
    elif damage == "label":
        arrays["label"] = arrays["label"] + 100
    arrays = {k: x[:20] if damage == "short" else x for k, x in arrays.items()}
    text = save(arrays)
    (bundle / TABLE).write_bytes(text[:-9] if damage == "bytes" else text)
    if damage == "absent":
        (bundle / TABLE).unlink()
    with pytest.raises(BundleError):
        read_reference(bundle)


def test_statistics_of_images_are_what_their_names_say():
    found = measure_images(COLOURED)
    x = COLOURED / 255
    grey = x @ (0.299, 0.587, 0.114)
    np.testing.assert_allclose(found["brightness"], grey.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["contrast"], grey.std((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["saturation"], np.ptp(x, -1).mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found["blue"], x[..., 2].mean((1, 2)), rtol=1e-5)
    counts = [np.histogram(g, 16, (0, 1))[0] for g in grey]
    np.testing.assert_allclose(found["entropy"], [stats.entropy(c, base=2) for c in counts])
    kernel = np.outer((1, -2, 1), (1, -2, 1))[None]
    laplace = ndimage.convolve(grey, kernel)[:, 1:-1, 1:-1]
    expected = np.sqrt(np.pi / 2) / 6 * np.abs(laplace).mean((1, 2))
    np.testing.assert_allclose(found["grain"], expected, rtol=1e-4)


def test_grain_is_the_deviation_of_the_noise_also_of_a_large_image():
    noise = np.random.default_rng(0).normal(128, 10, (3, 300, 200, 1))
    found = measure_images(np.clip(np.round(noise), 0, 255).astype(np.uint8))
    np.testing.assert_allclose(found["grain"] * 255, 10, rtol=0.2)


def test_texts_are_measured_by_length_unknown_words_and_groups_of_tokens():
    signature = {"text": {"inputs": {"tokens": "tokens", "length": "length"}, "unknown": 1}}
    tokens = np.asarray([[5, 5, 1, 9], [7, 0, 0, 0]], np.int32)
    inputs = {"tokens": tokens, "length": np.asarray([4, 1], np.int32)}
    found = measure_examples(signature, inputs, {"probabilities": np.eye(3, dtype=np.float32)[:2]})
    named = dict(zip(found.names, found.values.T, strict=True))
    assert named["text.length"].tolist() == [4, 1]
    assert named["text.unknown"].tolist() == [0.25, 0]
    groups = np.stack([v for k, v in named.items() if k.startswith("text.tokens_")])
    np.testing.assert_allclose(groups.sum(0), 1)
    bucket = ((5 * 2654435761) % 2**32) >> 28
    assert groups[bucket][0] >= 0.5


def test_shifts_are_those_of_the_transforms_of_training():
    x = jnp.asarray(COLOURED, jnp.float32)
    for name, duller in (("saturation", grey_image), ("contrast", mean_grey)):
        expected = np.stack([blend_images(i, duller(i), jnp.asarray(1.6)) for i in x])
        found = shift_images(COLOURED, name, 1.6)
        np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=0.51)
    expected = np.stack([blur_image(i, 1.0, 3) for i in x])
    np.testing.assert_allclose(shift_images(COLOURED, "blur", 1.0), expected, atol=0.51)
    spread = shift_images(np.full((2, 64, 64, 3), 128, np.uint8), "pixel_noise", 10.0).std()
    assert spread == pytest.approx(10, rel=0.03)


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("brightness", 0.7),
        ("brightness", 1.4),
        ("contrast", 0.5),
        ("blur", 0.7),
        ("pixel_noise", 40.0),
        ("class prior", 0.0),
        ("nothing", 0.0),
    ],
)
def test_the_likely_cause_is_what_was_done_and_how_much(
    tmp_path_factory: pytest.TempPathFactory, name: str, amount: float
):
    """On strengths that were not tried at export."""
    folder = verified_bundle(tmp_path_factory)
    reference, bundle = read_reference(folder), load_bundle(folder, program="onnx")
    assert reference is not None
    rows = np.random.default_rng(1).choice(360, 150, replace=False)
    if name == "class prior":
        rows = np.flatnonzero(np.asarray(TEST["label"]) < 4)
    images = np.asarray(TEST["image"])[rows]
    if amount:
        images = shift_images(images, name, amount)
    outputs = bundle.predict({"image": images})
    measured = measure_examples(bundle.signature, {"image": images}, outputs)
    causes = rank_causes(reference, measured.values, measured.label)
    if name == "nothing":
        assert not causes
        return
    assert causes[0].name == name, causes
    if amount:
        assert causes[0].strength == pytest.approx(amount, rel=0.25)
        reach = abs(amount - 1) if name in ("brightness", "contrast") else amount
        assert next(iter(causes[0].arguments.values())) >= 0.9 * reach
    else:
        assert causes[0] == Cause(name, causes[0].strength, causes[0].explained)
