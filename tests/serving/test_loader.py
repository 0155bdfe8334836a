import ast
import dataclasses
import io
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from lepton_jax.data.sources.images import read_image
from lepton_jax.export.bundle import export_bundle
from lepton_jax.serving import loader
from lepton_jax.transforms import host
from tests.data import pipelines
from tests.graduation import flip, rewrite_manifest, trained_run


def test_serving_imports_nothing_else_of_lepton_jax():
    allowed = {
        *("jax", "numpy", "onnxruntime", "PIL", "safetensors", "tokenizers"),
        *("opentelemetry", "orjson", "prometheus_client", "starlette", "uvicorn", "uvloop"),
    } | sys.stdlib_module_names
    for path in Path(loader.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots = {a.name.partition(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                if node.level:  # its own: tests/test_structure.py
                    continue
                roots = {(node.module or "").partition(".")[0]}
            else:
                continue
            assert roots <= allowed, path


@pytest.mark.parametrize("count", [1, 3, 17, 64, 65, 300])
def test_answers_are_the_models_at_any_batch_size(bundle, count):
    run = trained_run(bundle)
    image = run.splits["train"].columns["image"][:count]
    expected = jax.jit(run.forward)(run.weights, {"image": image})
    got = loader.load_bundle(bundle).predict({"image": image})
    np.testing.assert_allclose(got["probabilities"], expected["probabilities"], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(got["label"], expected["label"])


def test_few_shapes_are_compiled(bundle):
    loaded = loader.load_bundle(bundle)
    image = trained_run(bundle).splits["train"].columns["image"]
    loaded.predict({"image": image[:150]})  # 64, 64, and 22 padded to 64
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "backend_compile" in event else None
    )
    for count in (33, 63, 64, 65, 129, 1000):
        loaded.predict({"image": image[:count]})
    assert compiled == []
    loaded.predict({"image": image[:3]})
    assert len(compiled) == 1


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "expected inputs 'image': uint8 \\[batch, 8, 8, 1\\], got none"),
        ({"picture": np.zeros((1, 8, 8, 1), np.uint8)}, "got picture"),
        ({"image": np.zeros((1, 8, 8, 1), np.float32)}, "got float32 \\[1, 8, 8, 1\\]"),
        ({"image": np.zeros((8, 8, 1), np.uint8)}, "got uint8 \\[8, 8, 1\\]"),
        ({"image": np.zeros((), np.uint8)}, "got uint8 \\[\\]"),
        ({"image": np.zeros((0, 8, 8, 1), np.uint8)}, ">= 1"),
    ],
)
def test_input_that_the_signature_does_not_declare_is_refused(bundle, inputs, message):
    with pytest.raises(loader.InputError, match=message):
        loader.load_bundle(bundle).predict(inputs)


def test_damaged_bundle_is_not_loaded(bundle):
    flip(bundle / "weights.safetensors")
    with pytest.raises(loader.BundleError, match=r"weights\.safetensors: its bytes have changed"):
        loader.load_bundle(bundle)


def test_another_bundle_than_expected_is_not_loaded(bundle):
    identity = loader.bundle_id(bundle)
    assert loader.load_bundle(bundle, identity).id == identity
    with pytest.raises(loader.BundleError, match="expected sha256:00"):
        loader.load_bundle(bundle, "sha256:00")


def test_program_that_this_jax_cannot_read_says_which_jax_wrote_it(bundle):
    (bundle / "programs/stablehlo/forward.bin").write_bytes(b"nonsense" * 50)
    signature = json.loads((bundle / "signature.json").read_text())
    signature["programs"]["stablehlo"]["jax"] = "9.9.9"
    (bundle / "signature.json").write_text(json.dumps(signature))
    rewrite_manifest(bundle)
    image = np.zeros((1, 8, 8, 1), np.uint8)
    with pytest.raises(loader.BundleError, match=r"exported by jax 9\.9\.9 on 20"):
        loader.load_bundle(bundle).predict({"image": image})


def picture(mode, size=(40, 30)):
    """A file of the kind that `mode` says, with something to see in it."""
    ramp = np.add.outer(np.arange(size[1]) * 3, np.arange(size[0]) * 2).astype(np.uint8)
    rgb = Image.fromarray(np.stack([ramp, 255 - ramp, ramp // 2], -1))
    buffer = io.BytesIO()
    rgb.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize(
    "decode",
    [
        "",
        "resize(10)|center_crop(8)|grayscale()",
        "resize(8, 9)",
        "resize_shorter(9)|center_crop(8)",
    ],
)
def test_file_is_decoded_as_training_decoded_it(tmp_path, mode, decode):
    """The declared decoding is the run's own host pipeline, then the input's mode and size."""
    run = dataclasses.replace(trained_run(tmp_path), decode=pipelines.read(decode))
    export_bundle(run, str(tmp_path / "bundle"))
    path = tmp_path / "given.png"
    path.write_bytes(picture(mode))
    trained_on = host.build_pipeline(pipelines.read(decode))({"image": read_image(path, str(path))})
    expected = host.build_pipeline(pipelines.read("grayscale()|resize(8)"))(trained_on)["image"]
    got = loader.load_bundle(tmp_path / "bundle").decode(path)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        loader.load_bundle(tmp_path / "bundle").decode(path.read_bytes()), got
    )


def test_a_picture_is_turned_as_training_turned_it(bundle):
    loaded = loader.load_bundle(bundle)
    ramp = Image.open(io.BytesIO(picture("L")))
    for orientation in range(1, 9):
        exif, buffer = Image.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        ramp.save(buffer, "PNG", exif=exif)
        pixels = {"image": read_image(buffer.getvalue(), "a")}
        expected = host.build_pipeline(pipelines.read("resize(8)"))(pixels)["image"]
        np.testing.assert_array_equal(loaded.decode(buffer.getvalue()), expected)


def test_example_pictures_decode_to_the_example_inputs(bundle):
    loaded = loader.load_bundle(bundle)
    for i, image in enumerate(loaded.examples()["inputs"]["image"]):
        np.testing.assert_array_equal(loaded.decode(bundle / f"examples/{i:02d}.png"), image)


def test_sixteen_bits_are_refused_as_in_training(bundle):
    with pytest.raises(loader.InputError, match="8 bits"):
        loader.load_bundle(bundle).decode(picture("I;16"))


@pytest.mark.parametrize(
    "content", [b"", b"not an image", picture("L")[:60], picture("RGB")[:-400]]
)
def test_unreadable_image_is_refused(bundle, tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(loader.InputError, match=r"cannot read .*x\.png"):
        loader.load_bundle(bundle).decode(path)


def test_absent_image_is_refused(bundle):
    with pytest.raises(loader.InputError, match="No such file"):
        loader.load_bundle(bundle).decode("nowhere.png")


def test_image_smaller_than_the_declared_crop_is_refused(tmp_path):
    run = dataclasses.replace(trained_run(tmp_path), decode=pipelines.read("center_crop(20)"))
    export_bundle(run, str(tmp_path / "bundle"))
    with pytest.raises(loader.InputError, match="smaller than the 20 x 20"):
        loader.load_bundle(tmp_path / "bundle").decode(picture("L", (19, 30)))


def test_an_answer_of_nan_is_no_class(bundle, monkeypatch: pytest.MonkeyPatch):
    loaded = loader.load_bundle(bundle)
    image = trained_run(bundle).splits["train"].columns["image"][:3]
    answers = {**loaded.predict({"image": image}), "label": np.zeros(4, np.int32)}
    answers["probabilities"] = np.concatenate([answers["probabilities"], np.ones((1, 10))])
    answers["probabilities"][1, 4] = np.nan
    monkeypatch.setattr(loaded, "_forward", lambda _: answers)
    with pytest.raises(loader.BundleError, match="answer to input 1 is NaN, and no class"):
        loaded.predict({"image": image})


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    "text",
    [nested(loader.MAX_DEPTH + 1), b"[" * 5_000 + b"]" * 5_000, b'{"a": 1, "a": 1}', b"[NaN]",
     b'[{"b": {"a": 1, "a": 2}}]', b"[1e999, Infinity]", b"{}{}"],
)  # fmt: skip
def test_json_that_two_readers_could_read_differently_is_refused(text):
    with pytest.raises((ValueError, RecursionError)):
        loader.parse_json(text)


def test_json_of_the_depth_that_is_allowed_is_read():
    assert loader.parse_json(b"1") == 1
    value = loader.parse_json(nested(loader.MAX_DEPTH))
    for _ in range(loader.MAX_DEPTH):
        value = value["a"]
    assert value == 1
