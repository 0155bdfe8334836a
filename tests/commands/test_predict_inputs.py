"""Anything that a user may hand to `predict` is one input, several, or refused in one sentence."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lepton_jax import api
from lepton_jax.config.plain import list_items
from lepton_jax.errors import UserError
from lepton_jax.prediction.inputs import gather_inputs
from lepton_jax.serving.loader import Bundle, InputError

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)


class Takes:
    """A bundle's inputs without its program."""

    decode = Bundle.decode

    def __init__(self, kind: str):
        texts = {f: {"shape": [4], "dtype": "int32"} for f in ("tokens", "kinds")}
        images = {"image": {"shape": [8, 8, 1], "dtype": "uint8"}}
        seeds = {"seed": {"shape": [], "dtype": "uint32"}}
        self.takes_text = kind == "text"
        self.signature = {"inputs": {"text": texts, "image": images, "seed": seeds}[kind]}
        if kind == "image":
            self.signature["decoding"] = {"steps": []}
        if kind == "text":
            self.signature["text"] = {"inputs": {"tokens": "tokens"}}

    def examples(self) -> dict[str, Any]:
        return {"inputs": {"image": PIXELS[None][:0]}, "truth": {}}

    def encode(self, *texts: str) -> tuple[dict[str, np.ndarray], bool]:
        return {"tokens": np.array([len(t) for t in texts])}, False


def gather(kind: str, given: Any, examples: int = 0) -> list[Any]:
    return gather_inputs(Takes(kind), list_items(given), examples)  # type: ignore[arg-type]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


PICTURE = Image.fromarray(PIXELS[..., 0])
ONE: dict[str, tuple[str, Callable[[], Any]]] = {
    "a text": ("text", lambda: "good movie"),
    "a list of a text": ("text", lambda: ["good movie"]),
    "a tuple of a text": ("text", lambda: ("good movie",)),
    "an array": ("image", lambda: PIXELS),
    "a JAX array": ("image", lambda: jnp.asarray(PIXELS)),
    "a batch of one": ("image", lambda: PIXELS[None]),
    "a list of an array": ("image", lambda: [PIXELS]),
    "a picture": ("image", lambda: PICTURE),
    "a list of a picture": ("image", lambda: [PICTURE]),
    "a picture with alpha": ("image", lambda: PICTURE.convert("LA")),
    "bytes of a picture": ("image", lambda: png(PICTURE)),
    "a seed": ("seed", lambda: 3),
    "a seed of numpy": ("seed", lambda: np.uint32(3)),
    "a seed as a text": ("seed", lambda: "3"),
}


@pytest.mark.parametrize("what", ONE)
def test_one_input_is_one_answer(what: str):
    kind, make = ONE[what]
    (found,) = gather(kind, make())
    (value,) = found.fields.values()
    expected = {"text": [10], "image": PIXELS, "seed": 3}[kind]
    np.testing.assert_array_equal(value, expected)


def test_a_turned_picture_is_turned_back():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = io.BytesIO()
    PICTURE.rotate(90, expand=True).save(turned, "PNG", exif=exif)
    by_picture = gather("image", Image.open(turned))
    by_bytes = gather("image", turned.getvalue())
    for (found,) in (by_picture, by_bytes):
        np.testing.assert_array_equal(found.fields["image"], PIXELS)


def test_files_lie_at_home_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    PICTURE.save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", PIXELS)
    assert len(gather("image", ["~/a.png", "~/a.npy", tmp_path / "a.png"])) == 3


WRONG: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "an empty array": ("image", lambda d: PIXELS[None][:0], "there is no example in"),
    "an empty file": ("image", lambda d: save(d, PIXELS[None][:0]), "there is no example in"),
    "a file of nothing": ("image", lambda d: touch(d / "x.npy"), "as an array"),
    "another dtype": ("image", lambda d: PIXELS / 255, "expected uint8 [8, 8, 1] or a batch"),
    "another shape": ("image", lambda d: PIXELS[:4], "expected uint8 [8, 8, 1]"),
    "a picture of floats": ("image", lambda d: PICTURE.convert("F"), "'F' pixels; expected 8 bits"),
    "a number": ("image", lambda d: 3.5, "input 0: expected FILE.png or an array, got float"),
    "None": ("image", lambda d: None, "got NoneType"),
    "a dict of one example": ("image", lambda d: {"image": PIXELS}, "expected a batch of uint8"),
    "a nested list": ("image", lambda d: [[1, 2], [3, 4]], "got list"),
    "a text for images": ("image", lambda d: "no such", "cannot read no such"),
    "bytes that are no picture": ("image", lambda d: b"abc", "cannot read the image"),
    "an image for texts": ("text", lambda d: PICTURE, "input 0 is of type Image; this bundle"),
    "bytes for texts": ("text", lambda d: b"good", "input 0 is of type bytes; this bundle answers"),
    "an array for texts": ("text", lambda d: PIXELS, "array 0: this bundle answers texts"),
    "a file for texts": ("text", lambda d: touch(d / "notes.csv"), "notes.csv is a file; this"),
    "a number for texts": ("text", lambda d: 3, "expected 'TEXT' or an array, got int"),
    "a seed too large": ("seed", lambda d: 2**32, "whole numbers below 2^32"),
    "a seed below zero": ("seed", lambda d: -1, "whole numbers below 2^32"),
    "a seed that is none": ("seed", lambda d: "²", "whole numbers below 2^32"),
}


def touch(path: Path) -> str:
    path.write_bytes(b"")
    return str(path)


def save(folder: Path, array: np.ndarray) -> str:
    np.save(folder / "empty.npy", array)
    return f"{folder}/empty.npy"


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_input_is_refused_in_one_sentence(what: str, tmp_path: Path):
    kind, make, said = WRONG[what]
    with pytest.raises((UserError, InputError)) as e:
        gather(kind, make(tmp_path))
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_a_bundle_without_examples_has_none_to_answer():
    with pytest.raises(UserError, match="there is no example in the bundle"):
        gather("image", [], examples=3)


@pytest.mark.parametrize("examples", [-1, 1.5, "all"])
def test_examples_are_a_number(examples: Any):
    with pytest.raises(UserError, match="predict: --examples: expected int"):
        api.predict(bundle="b", examples=examples)
