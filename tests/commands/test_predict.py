import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lepton_jax.answers.class_label import ClassKind
from lepton_jax.answers.prediction import Prediction
from lepton_jax.commands.predict import Predictions, predict
from lepton_jax.errors import UserError, WorkError
from lepton_jax.prediction.inputs import _read_array, gather_inputs
from lepton_jax.serving import loader
from tests.graduation import flip, trained_run


def test_examples_are_shown_beside_their_truth(bundle):
    found = predict(bundle=str(bundle), examples=16)
    stored = loader.load_bundle(bundle).examples()
    assert [a.truth for a in found.answers] == [str(x) for x in stored["truth"]["label"]]
    assert [a.label for a in found.answers] == [str(x) for x in stored["outputs"]["label"]]
    right = sum(a.truth == a.label for a in found.answers)
    text = found.drawn()
    assert f"{right} of 16 as labelled" in text
    assert text.count("true ") == 16
    assert max(map(len, text.splitlines()[:-2])) <= 80
    assert len(predict(bundle=str(bundle), examples=99).answers) == 16


def test_file_of_another_size_and_mode_follows_the_declared_decoding(bundle, tmp_path):
    image = loader.load_bundle(bundle).examples()["inputs"]["image"][0, ..., 0]
    large = Image.fromarray(image).resize((64, 64), Image.Resampling.NEAREST).convert("RGBA")
    large.save(tmp_path / "large.png")
    Image.fromarray(image).save(tmp_path / "exact.png")
    found = predict(
        bundle=str(bundle),
        inputs=[str(tmp_path / "large.png"), tmp_path / "exact.png", image[..., None]],
    )
    assert [a.label for a in found.answers] == [found.answers[0].label] * 3
    decoded = loader.load_bundle(bundle).decode(tmp_path / "large.png")
    expected = Image.fromarray(np.asarray(large.convert("RGB"))).convert("L")
    expected = np.asarray(expected.resize((8, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decoded[..., 0], expected)
    assert found.answers[1].outputs == found.answers[2].outputs
    assert found.answers[0].truth is None


def test_arrays_in_a_file_are_one_example_or_many(bundle, tmp_path):
    image = trained_run(tmp_path).splits["test"].columns["image"]
    np.save(tmp_path / "one.npy", image[0])
    np.save(tmp_path / "many.npy", image[:3])
    found = predict(bundle=str(bundle), inputs=[f"{tmp_path}/one.npy", f"{tmp_path}/many.npy"])
    names = [a.input.removeprefix(f"{tmp_path}/") for a in found.answers]
    assert names == ["one.npy", "many.npy[0]", "many.npy[1]", "many.npy[2]"]
    assert found.answers[0].outputs == found.answers[1].outputs


def test_bad_input_is_a_users_mistake(bundle, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    (tmp_path / "x.npy").write_bytes(b"no array")
    np.save(tmp_path / "float.npy", np.zeros((8, 8, 1)))
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    for inputs, message in (
        (["x.png"], r"cannot read .*x\.png"),
        (["nowhere.png"], r"nowhere\.png: No such file"),
        (["."], "cannot read"),
        (["x.npy"], r"cannot read .*x\.npy as an array"),
        (["pickled.npy"], "cannot read"),
        (["float.npy"], r"expected uint8 \[8, 8, 1\] or a batch of those, got float64"),
        ([], "predict what"),
    ):
        with pytest.raises(UserError, match=message):
            predict(bundle=str(bundle), inputs=[str(tmp_path / name) for name in inputs])
    with pytest.raises(UserError, match="either --bundle"):
        predict(examples=1)
    with pytest.raises(UserError, match="no such folder"):
        predict(bundle=str(tmp_path / "nowhere"), examples=1)


def test_damaged_bundle_does_not_answer(bundle):
    flip(bundle / "weights.safetensors")
    with pytest.raises(WorkError, match=r"weights\.safetensors"):
        predict(bundle=str(bundle), examples=1)


def test_json_holds_every_output(bundle):
    found = json.loads(json.dumps(predict(bundle=str(bundle), examples=2).as_json()))
    assert found["id"] == loader.bundle_id(bundle)
    assert len(found["answers"][0]["outputs"]["probabilities"]) == 10


def test_json_names_the_classes_of_the_probabilities(bundle):
    found = json.loads(json.dumps(predict(bundle=str(bundle), examples=1).as_json()))
    answer = found["answers"][0]
    best = int(np.argmax(answer["outputs"]["probabilities"]))
    assert found["classes"][best] == answer["label"]


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ([0.448, 0.401, 0.151], ["x.png", "box (44.8%)", "or cross (40.1%)"]),
        ([0.7, 0.2, 0.1], ["x.png", "box (70.0%)"]),
        ([0.52, 0.48], ["x.png", "box (52.0%)"]),
    ],
    ids=["not sure", "sure", "one of two"],
)
def test_an_answer_that_is_not_sure_is_shown_with_the_runner_up(probabilities, said):
    reader = SimpleNamespace(labels=["box", "cross", "ring"], takes_text=False)
    outputs = {"label": np.int32(0), "probabilities": np.float32(probabilities)}
    inputs = {"image": np.zeros((2, 2, 1), np.uint8)}
    shown = ClassKind().describe("x.png", inputs, outputs, {}, reader)
    assert shown.picture()[1] == said
    reader.takes_text = True
    line = ClassKind().describe("x.png", inputs, outputs, {}, reader).lines()[0]
    assert line == f"x.png -> {', '.join(said[1:])}"


def test_of_examples_sorted_by_class_some_of_all_classes_are_shown():
    truth = {"label": np.int32([0] * 5 + [1] * 5 + [2] * 6)}
    stored = {"inputs": {"x": np.zeros((16, 1))}, "truth": truth}
    bundle = SimpleNamespace(examples=lambda: stored, takes_text=False)
    shown = gather_inputs(bundle, [], 3)
    assert [int(raw.truth["label"]) for raw in shown] == [0, 1, 2]
    truth["label"] = truth["label"][::-1].copy()
    assert [raw.name for raw in gather_inputs(bundle, [], 2)] == ["example 0", "example 1"]
    assert len(gather_inputs(bundle, [], 99)) == 16


def drawing(image, color=False):
    answer = Prediction("x.png", "seven", 0.5, None, {}, image)
    return Predictions("sha256:0", "here", (answer,), "--bundle=here", "FILE.png").drawn(
        color=color
    )


def test_numbers_of_no_known_kind_are_shown_as_they_are():
    answer = Prediction("x.npy", None, None, None, {"degrees": [12.5], "map": [[0.0] * 9]})
    said = Predictions("sha256:0", "here", (answer,), "--bundle=here", "FILE.npy").drawn()
    assert "degrees [12.5]" in said
    assert "map" not in said
    assert said.endswith("predict --bundle=here FILE.npy")


def test_the_line_after_answers_to_own_inputs_can_be_pasted():
    answer = Prediction("x.npy", None, None, None, {"degrees": [12.5]})
    said = Predictions("sha256:0", "here", (answer,), "--bundle=here", "FILE.npy", own=True).drawn()
    last = said.splitlines()[-1]
    assert last.startswith("next: ")
    assert last.endswith("predict --bundle=here --examples=8")


def test_drawing_shades_what_is_bright():
    image = np.zeros((2, 3, 1), np.uint8)
    image[0, 0], image[1, 2] = 255, 128
    assert drawing(image).splitlines()[:4] == ["██", "    ▒▒", "x.png", "seven (50.0%)"]


def test_coloured_drawing_has_two_pixels_a_block():
    image = np.zeros((3, 1, 3), np.uint8)
    image[0, 0], image[1, 0] = (1, 2, 3), (4, 5, 6)
    lines = drawing(image, color=True).splitlines()
    assert lines[0].startswith("\x1b[38;2;1;2;3;48;2;4;5;6m▀\x1b[0m")
    assert lines[1].startswith("\x1b[38;2;0;0;0;48;2;0;0;0m▀\x1b[0m")  # an odd row is padded


@pytest.mark.parametrize("color", [False, True])
def test_large_images_are_thinned_to_the_terminal(color):
    lines = drawing(np.full((300, 500, 3), 255, np.uint8), color).splitlines()
    assert max(line.count("█") + line.count("▀") for line in lines) <= 32


class Terminal(io.StringIO):
    def __init__(self, encoding, tty):
        super().__init__()
        self._encoding, self._tty = encoding, tty

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return self._tty


@pytest.mark.parametrize(
    ("encoding", "term", "tty", "has"),
    [
        ("utf-8", "xterm", True, "\u2580"),
        ("utf-8", "xterm", False, "\u2588"),
        ("utf-8", "dumb", True, "\u2588"),
        ("utf-8", None, True, "\u2588"),
        ("latin-1", "xterm", True, "#"),
        ("ascii", "xterm", False, "#"),
        ("cp437", "xterm", True, "\u2580"),
        ("no-such-encoding", "xterm", True, "#"),
        (None, None, False, "\u2588"),
    ],
)
def test_pictures_are_in_characters_that_the_terminal_has(monkeypatch, encoding, term, tty, has):
    image = np.full((4, 4, 1), 255, np.uint8)
    found = Predictions("id", "it", (Prediction("x", "a", 0.5, image=image),), "--bundle=b", "X")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    if term:
        monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(sys, "stdout", Terminal(encoding, tty))
    text = str(found)
    monkeypatch.undo()
    assert has in text
    if has == "#":
        assert text.isascii()
    assert ("\x1b[38" in text) == (has == "\u2580")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr':'<f4','fortran_order':False,'shape':(1000000000000000000,)}\n",
        "{'descr':'<f4','fortran_order':False,'shape':(99999999999999999999999,)}\n",
        "{'descr':'<f4','fortran_order':False,'shape':(-1,)}\n",
        "{'descr':'|O','fortran_order':False,'shape':(1,)}\n",
        "{'descr':'<f4','fortran_order':False,'shape':'x'}",
        "{'descr':'V99999999999','fortran_order':False,'shape':(2,)}\n",
        "(" * 5000,
        "__import__('os').system('true')",
        "",
    ],
)
def test_header_that_asks_for_anything_is_refused(tmp_path, header):
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"1234"
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(UserError, match=r"cannot read .*x\.npy as an array") as e:
        _read_array(str(tmp_path / "x.npy"))
    assert len(str(e.value).splitlines()) == 1
