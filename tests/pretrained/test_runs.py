"""From a folder of Hugging Face to a run, and from a run to such a folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.errors import UserError
from lepton_jax.training import saved
from lepton_jax.training.checkpoints import Checkpoints
from tests.pretrained import peers
from tests.pretrained.peers import VIT, VIT_KEYS, torch, transformers

CONFIG: dict[str, Any] = {
    "model": {"name": "vit", **VIT_KEYS},
    "task": {"name": "image_classification"},
    "data": {
        "source": {"name": "generated_images", "size": (8, 8, 3), "classes": 4, "examples": 60},
        "prepare": "scale()",
    },
    "optimizer": {
        "name": "adamw",
        "learning_rate": 1e-2,
        "groups": {
            "body": {"pattern": "^(blocks|patches|positions|token)", "learning_rate": 0.0},
            "norm": {"pattern": "^norm", "learning_rate": 0.1},
        },
    },
    "batch_size": 8,
    "train_for": "6 steps",
    "ema": 0.9,
    "writers": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    peer = peers.peer("ViTForImageClassification", **VIT, num_labels=5)
    return peers.saved(peer, tmp_path_factory.mktemp("vit"))


def test_a_head_is_replaced_and_frozen_layers_stay_to_the_bit(folder: Path, tmp_path: Path, capfd):
    workdir, out = tmp_path / "run", tmp_path / "out"
    lepton_jax.train(CONFIG | {"init_from": str(folder)}, str(workdir))
    said = capfd.readouterr().err
    assert "fresh    head.kernel (16, 4): has shape (16, 5) there" in said
    assert "frozen: " in said
    assert "by optimizer.groups.body" in said
    leaves = Checkpoints(str(workdir)).arrays(6, "state.learner.")
    before = peers.arrays(folder, peers.chosen("vit", **VIT_KEYS), (8, 8, 3), 4)
    for name, x in before.items():
        body = not name.startswith(("norm", "head"))
        for part in ("params", "ema"):
            same = leaves[f"{part}.{name}"].tobytes() == x.tobytes()
            assert same == body or name.startswith("head"), name
        assert any(k.endswith(f".mu.{name}") for k in leaves) != body
    # And out again: transformers answers as the run does.
    api.export(str(workdir), str(out), format="hugging_face", checkpoint="last")
    config = json.loads((out / "config.json").read_text())
    assert list(config["id2label"].values()) == list(saved.load_run(str(workdir)).data.spec.classes)
    peer = transformers.AutoModelForImageClassification.from_pretrained(out).eval()
    trained = saved.load_run(str(workdir), "last")
    image = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    pixels = torch.from_numpy((image / 255).astype(np.float32).transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = peer(pixels).logits.softmax(-1)
    found = trained.forward(trained.weights, {"image": image})["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_another_architecture_is_one_error_with_every_key(folder: Path):
    model = peers.chosen("vit", **VIT_KEYS | {"layers": 3, "mlp": "gelu", "epsilon": 1e-5})
    with pytest.raises(UserError) as error:
        peers.arrays(folder, model, (8, 8, 3), 4)
    said = str(error.value)
    assert "model.layers = 3, there 2 (num_hidden_layers)" in said
    assert "model.mlp = 'gelu', there 'gelu_exact' (hidden_act)" in said
    assert "model.epsilon = 1e-05, there 1e-12 (layer_norm_eps)" in said
    with pytest.raises(UserError, match=r"model\.pool = 'mean', there 'token'"):
        peers.arrays(folder, peers.chosen("vit", **VIT_KEYS, pool="mean"), (8, 8, 3), 4)
    with pytest.raises(UserError, match="image_size = 8 there, and 16 here"):
        peers.arrays(folder, peers.chosen("vit", **VIT_KEYS), (16, 16, 3), 4)
    with pytest.raises(UserError, match=r"expected model\.name = 'vit', got 'resnet'"):
        peers.arrays(folder, peers.chosen("resnet"), (8, 8, 3), 4)


def test_parts_half_precision_and_models_without_a_head_are_read(folder: Path, tmp_path: Path):
    model = peers.chosen("vit", **VIT_KEYS)
    whole = peers.arrays(folder, model, (8, 8, 3), 5)
    peer = transformers.ViTForImageClassification.from_pretrained(folder)
    peers.saved(peer, tmp_path / "parts", max_shard_size="5KB")
    assert (tmp_path / "parts/model.safetensors.index.json").exists()
    parts = peers.arrays(tmp_path / "parts", model, (8, 8, 3), 5)
    assert all(np.array_equal(parts[name], whole[name]) for name in whole)
    peers.saved(peer.vit, tmp_path / "base")
    base = peers.arrays(tmp_path / "base", model, (8, 8, 3), 5)
    assert whole.keys() - base.keys() == {"head.kernel", "head.bias"}
    peers.saved(peer.to(torch.bfloat16), tmp_path / "half")
    half = peers.arrays(tmp_path / "half", model, (8, 8, 3), 5)
    for name, x in half.items():
        assert x.dtype.name == "bfloat16"
        np.testing.assert_allclose(x.astype(np.float32), whole[name], rtol=2**-8)
    (tmp_path / "parts/model-00001-of-00002.safetensors").unlink(missing_ok=True)
    for file in sorted((tmp_path / "parts").glob("model-00001*")):
        file.unlink()
    with pytest.raises(UserError, match="lacks model-00001"):
        peers.arrays(tmp_path / "parts", model, (8, 8, 3), 5)
    (folder / "config.json").rename(folder / "other.json")
    try:
        with pytest.raises(UserError, match="is of the type None"):
            peers.arrays(folder, model, (8, 8, 3), 5)
    finally:
        (folder / "other.json").rename(folder / "config.json")


def test_texts_go_out_with_their_tokenizer_and_come_back(tmp_path: Path, capfd):
    config: dict[str, Any] = {
        "model": {"name": "bert", "layers": 1, "width": 16, "heads": 2, "dropout": 0.0},
        "task": {"name": "text_classification"},
        "data": {
            "source": {"name": "generated_texts", "examples": 48, "classes": 3},
            "tokenizer": {"name": "words"},
            "encode": {"name": "text", "length": 40, "long": "truncate"},
        },
        "optimizer": {"name": "adamw", "learning_rate": 1e-2},
        "batch_size": 8,
        "train_for": "3 steps",
        "writers": {},
    }
    workdir, out = tmp_path / "run", tmp_path / "bert"
    lepton_jax.train(config, str(workdir))
    api.export(str(workdir), str(out), format="hugging_face", checkpoint="last")
    trained = saved.load_run(str(workdir), "last")
    valid = trained.data.splits["valid"].columns
    inputs = {name: np.asarray(valid[name][:3]) for name in trained.program.inference.input_fields}
    found = trained.forward(trained.weights, inputs)["probabilities"]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(out / "tokenizer.json"), pad_token="[PAD]"
    )
    peer = transformers.AutoModelForSequenceClassification.from_pretrained(out).eval()
    texts = [str(trained.data.texts.raw["valid"][i]["text"]) for i in range(3)]
    batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=40)
    with torch.no_grad():
        answers = peer(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    np.testing.assert_allclose(found, answers.softmax(-1), atol=1e-5)
    # And in again, with the tokenizer that lies there.
    capfd.readouterr()
    data = config["data"] | {
        "tokenizer": {"name": "pretrained", "path": str(out / "tokenizer.json")}
    }
    again = config | {"init_from": str(out), "data": data, "train_for": "1 steps"}
    lepton_jax.train(again, str(tmp_path / "again"))
    said = capfd.readouterr().err
    assert "taken over" in said
    assert "fresh" not in said
    other = again | {"data": config["data"] | {"tokenizer": {"name": "characters"}}}
    with pytest.raises(UserError, match="its weights belong to a tokenizer with"):
        lepton_jax.train(other, str(tmp_path / "other"))
