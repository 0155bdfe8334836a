"""A bundle's ONNX program takes short texts, and answers them as it answers padded ones."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from benchmarks import formats
from lepton_jax.export.onnx.convert import convert_to_onnx
from lepton_jax.serving import lengths, loader

LEAST = 8


def _open(drawn: formats.Drawn, long: list[str], folder: Path):
    weights_file = save(drawn.weights)
    made = convert_to_onnx(drawn.forward, drawn.fields, weights_file, long=long, least=LEAST)
    (folder / loader.WEIGHTS).write_bytes(weights_file)
    (folder / loader.ONNX).write_bytes(made.content)
    said = {"path": loader.ONNX, "inputs": made.inputs, "outputs": made.outputs}
    return loader.open_onnx(folder, said)


@pytest.mark.parametrize(
    "recipe",
    [
        "sst2_bert_small",
        "trec_cnn",
        "sst2_lstm",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("shakespeare_gpt", "scan_simple", "multi30k_transformer")
        ),
    ],
)
def test_a_text_that_is_cut_gets_the_answer_of_the_padded_one(recipe: str, tmp_path: Path):
    drawn = formats.draw(recipe)
    tokens = "source" if "source" in drawn.fields else "tokens"
    length = "source_length" if tokens == "source" else "length"
    answer = _open(drawn, [tokens], tmp_path)
    short = {**drawn.examples, length: np.arange(2, 9, dtype=np.int32)}
    expected = dataclasses.replace(drawn, examples=short).answers()
    for places in (LEAST, LEAST + 3):
        got = answer({**short, tokens: short[tokens][:, :places]})
        for name, wanted in expected.items():
            if wanted.dtype.kind == "f":
                np.testing.assert_allclose(got[name], wanted, atol=3e-5, rtol=1e-5)
            else:
                assert (got[name] == wanted).all()


SIGNATURE = {"text": {"inputs": {"tokens": "words", "length": "count"}, "size": 40}}


def test_a_text_is_cut_by_its_own_length_alone():
    count = np.array([40, 3, 8, 9, 17, 99, 0], np.int32)
    inputs = {"words": np.tile(np.arange(40, dtype=np.int32), (7, 1)), "count": count}
    groups = lengths.group_by_length(SIGNATURE, {"length": {"least": 8, "most": 40}}, inputs)
    found = {int(i): rows["words"].shape[1] for places, rows in groups for i in places}
    assert found == {0: 40, 1: 8, 2: 8, 3: 16, 4: 32, 5: 40, 6: 8}
    for places, rows in groups:
        assert (rows["count"] == count[places]).all()
        assert rows["words"].shape[0] == len(places)


@pytest.mark.parametrize("said", [None, {"unavailable": "why"}, {"least": "8"}, {"least": -1}, 8])
def test_a_program_of_one_length_gets_texts_as_they_are(said: object):
    inputs = {"words": np.zeros((2, 40), np.int32), "count": np.ones(2, np.int32)}
    ((places, rows),) = lengths.group_by_length(SIGNATURE, {"length": said}, inputs)
    assert places.tolist() == [0, 1]
    assert rows is inputs


def test_a_bundle_says_how_short_texts_may_be_and_predict_cuts_them(
    tiny_bundle: Callable[[str], Path], tmp_path: Path
):
    folder = Path(shutil.copytree(tiny_bundle("trec_cnn"), tmp_path / "bundle"))
    said = loader.read_json(folder, "signature.json")["programs"]["onnx"]["length"]
    assert said == {"least": 8, "most": 40}
    assert "any 8 to 40 places" in re.sub(r"\s+", " ", (folder / "README.md").read_text())
    bundle = loader.load_bundle(folder, program="onnx")
    seen = []
    compute = bundle.compute
    bundle.compute = lambda rows: seen.append(rows["tokens"].shape) or compute(rows)
    texts = ["a b c", " ".join("abcdefghijkl"), "d"]
    rows = [bundle.encode(text)[0] for text in texts]
    inputs = {k: np.stack([row[k] for row in rows]) for k in rows[0]}
    answers = bundle.predict(inputs)
    assert seen == [(2, 8), (1, 16)]
    whole = compute(inputs)
    np.testing.assert_allclose(answers["probabilities"], whole["probabilities"], atol=1e-5)
    assert (answers["label"] == whole["label"]).all()
    seen.clear()
    bundle.predict({k: x[:1] for k, x in inputs.items()})
    assert seen == [(1, 8)]  # alone it is cut as beside others
