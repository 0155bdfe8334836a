"""From a run on texts to a bundle that answers them, where nothing of the lab is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.commands.predict import predict
from lepton_jax.data.sources.generated import generated_texts
from lepton_jax.errors import UserError
from lepton_jax.serving import loader
from tests.graduation import rewrite_manifest, state_gate

RECIPE = str(Path(__file__).parents[2] / "configs/trec_cnn.py") + ":tiny"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("run")
    overrides = {"data.encode.length": "12", "data.encode.long": "truncate"}
    lepton_jax.train(RECIPE, str(workdir), overrides=overrides)
    return workdir


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    api.export(str(run), str(run / "bundle"))
    return run / "bundle"


def test_a_bundle_answers_texts_as_the_run_answered_them(bundle: Path):
    loaded = loader.load_bundle(bundle)
    texts = [e["texts"][0] for e in json.loads((bundle / "examples/texts.json").read_text())]
    test = generated_texts(examples=64, classes=6).splits["test"]
    assert set(texts) <= {test[i]["text"] for i in range(len(test))}
    found = predict(bundle=str(bundle), inputs=texts)
    stored = loaded.examples()["outputs"]
    assert [a.outputs["label"] for a in found.answers] == stored["label"].tolist()
    assert f"{texts[0]} -> {found.answers[0].label} (" in found.drawn()
    assert found.answers[0].as_json()["input"] == texts[0]


def test_texts_that_are_cut_are_said_to_be_and_odd_ones_answered(bundle: Path):
    found = predict(bundle=str(bundle), inputs=["ba " * 13, "", "日本"])
    assert found.answers[0].input.endswith("(cut)")
    assert [a.input for a in found.answers[1:]] == ["", "日本"]
    with pytest.raises(UserError, match="one text"):
        predict(bundle=str(bundle), inputs=["a\tpair"])


def test_a_verified_bundle_makes_tokens_as_the_run_did(bundle: Path, tmp_path: Path):
    state_gate(bundle, "robust(dropped,5)>=0.1,robust(typos,1)>=0.1")
    verified = api.verify(str(bundle))
    assert verified.ok, verified
    assert verified.robustness is not None
    assert verified.robustness.right.keys() == {"dropped,5", "typos,1"}
    verdict = json.loads((bundle / "verdict.json").read_text())
    checks = {c["name"]: c["ok"] for c in verdict["checks"]}
    assert checks["texts"]
    assert checks["test set"]
    changed = Path(shutil.copytree(bundle, tmp_path / "changed"))
    tokenizer = json.loads((changed / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None  # capitals and punctuation stay: other tokens
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    words = tokenizer["model"]["vocab"]
    first, second = sorted(words, key=words.__getitem__)[2:4]
    words[first], words[second] = words[second], words[first]
    (changed / "tokenizer.json").write_text(json.dumps(tokenizer))
    rewrite_manifest(changed)
    verdict = api.verify(str(changed))
    assert not verdict.ok
    assert any("texts" in str(c) and c.ok is False for c in verdict.checks)


def test_a_run_goes_on_with_its_own_tokenizer_alone(run: Path, tmp_path: Path):
    workdir = Path(shutil.copytree(run, tmp_path / "run"))
    own = (workdir / "tokenizer.json").read_text()
    other = own.replace("k1", "k9")
    (workdir / "tokenizer.json").write_text(other)
    for again in (
        lambda: api.evaluate(str(workdir)),
        lambda: lepton_jax.train(str(workdir / "config.json"), str(workdir)),
    ):
        with pytest.raises(UserError, match="not the tokenizer that this run was trained with"):
            again()


def test_a_tokenizer_from_elsewhere_is_needed_but_once(run: Path, tmp_path: Path):
    elsewhere = Path(shutil.copy(run / "tokenizer.json", tmp_path / "other.json"))
    workdir = tmp_path / "run"
    overrides = {
        "data.tokenizer.name": "pretrained",
        "data.tokenizer.path": str(elsewhere),
        "init_from": str(run),
    }
    lepton_jax.train(RECIPE, str(workdir), overrides=overrides)
    elsewhere.unlink()
    assert (workdir / "tokenizer.json").read_text() == (run / "tokenizer.json").read_text()
    again = lepton_jax.train(str(workdir / "config.json"), str(workdir))
    assert again.step == again.total_steps
    assert api.evaluate(str(workdir)).as_json()


def test_weights_for_other_tokens_are_refused(run: Path, tmp_path: Path):
    overrides = {"init_from": str(run), "data.tokenizer.size": "20"}
    with pytest.raises(UserError, match=r"the 20 tokens of this run's tokenizer.*'pretrained'"):
        lepton_jax.train(RECIPE, str(tmp_path), overrides=overrides)


def test_tokens_that_are_an_answer_are_shown_as_text(bundle: Path, tmp_path: Path, monkeypatch):
    tokens = np.zeros((1, 5), np.int32)
    known = json.loads((bundle / "tokenizer.json").read_text())["model"]["vocab"]
    tokens[0, :2] = known["k1"], known["k2"]
    answer = {"tokens": tokens, "length": np.array([2], np.int32)}
    monkeypatch.setattr(loader.Bundle, "predict", lambda self, inputs: answer)
    changed = Path(shutil.copytree(bundle, tmp_path / "changed"))
    signature = changed / "signature.json"
    signature.write_text(signature.read_text().replace('"answer": "class"', '"answer": "text"'))
    rewrite_manifest(changed)
    found = predict(bundle=str(changed), inputs=["ba do"])
    assert found.answers[0].text == "k1 k2"
    assert "ba do -> k1 k2" in found.drawn()
