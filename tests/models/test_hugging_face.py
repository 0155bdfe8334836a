"""A Hugging Face folder that another model lies in is refused; what cannot matter is listed."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from etils import epath
from safetensors.numpy import load_file, save_file

from lepton_jax.config.components import Component, component_keys
from lepton_jax.errors import UserError
from lepton_jax.models.hugging_face.folder import read_pretrained, write_pretrained
from lepton_jax.training.functional import Functional
from lepton_jax.trees import flatten_tree

V, T, W = 20, 12, 8


class Made(NamedTuple):
    """A tiny model of ours, and what it is built for."""

    model: Component
    shape: tuple[int, ...]
    outputs: int


def made(name: str, shape: tuple[int, ...], outputs: int, **keys: Any) -> Made:
    defaults = {key: value.default for key, value in component_keys("model", name).items()}
    return Made(Component("model", name, {**defaults, **keys}), shape, outputs)


MODELS = {
    "bert": made("bert", (T, V), 3, width=W, layers=1, heads=2),
    "bert_mlm": made("bert_mlm", (T, V), V, width=W, layers=1, heads=2),
    "gpt2": made("transformer", (T, V), V, width=W, layers=1, heads=2),
    "llama": made("transformer", (T, V), V, width=W, layers=1, heads=2, mlp_width=16, norm="rms",
                  mlp="swiglu", positions="rope", bias=False, tied=False),
    "vit": made("vit", (8, 8, 3), 3, width=W, layers=1, heads=2, patch=4, mlp="gelu_exact",
                epsilon=1e-12),
    "resnet": made("resnet", (64, 64, 3), 3, width=4, blocks=(1, 1), bottleneck=False),
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each family, as we write it."""
    base, rng = tmp_path_factory.mktemp("hf"), np.random.default_rng(0)
    for name, (model, shape, outputs) in MODELS.items():
        functional = Functional(lambda rngs, m=model, s=shape, o=outputs: m.build(s, o, rngs=rngs))
        _, rest = jax.eval_shape(lambda f=functional: f.init(jax.random.key(0)))
        leaves = flatten_tree(functional.params) | flatten_tree(rest)
        weights = {n: rng.normal(size=x.shape).astype(np.float32) for n, x in leaves.items()}
        write_pretrained(epath.Path(base / name), weights, model, shape, outputs, ())
    return base


def read(
    folders: Path, tmp_path: Path, family: str, keys: Any = None, arrays: Any = None
) -> list[str]:
    """Reads a folder with these keys and arrays beside its own; returns what is not read."""
    file = folders / family
    config = json.loads((file / "config.json").read_text()) | (keys or {})
    stored = load_file(file / "model.safetensors") | (arrays or {})
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(stored, tmp_path / "model.safetensors")
    return read_pretrained(epath.Path(tmp_path), *MODELS[family]).not_read


OTHER_KEYS: list[tuple[str, str, Any]] = [
    *(("bert", "position_embedding_type", kind) for kind in ("relative_key", "relative_key_query")),
    *(("bert_mlm", key, True) for key in ("is_decoder", "add_cross_attention")),
    ("bert", "is_decoder", True),
    ("bert", "is_encoder_decoder", True),
    ("bert", "hidden_act", "relu"),
    ("bert", "hidden_act", "gelu_new"),
    ("bert", "layer_norm_eps", 1e-5),
    ("bert", "type_vocab_size", 1),
    ("bert", "vocab_size", V + 1),
    ("bert", "pruned_heads", {"0": [1]}),
    ("bert", "quantization_config", {"quant_method": "bitsandbytes"}),
    ("bert", "auto_map", {"AutoModel": "modeling_mine.Mine"}),
    ("bert_mlm", "tie_word_embeddings", False),
    ("gpt2", "scale_attn_weights", False),
    ("gpt2", "scale_attn_by_inverse_layer_idx", True),
    ("gpt2", "add_cross_attention", True),
    ("gpt2", "activation_function", "relu"),
    ("gpt2", "layer_norm_epsilon", 1e-6),
    ("gpt2", "tie_word_embeddings", False),
    ("gpt2", "n_inner", 3 * W),
    ("llama", "rope_parameters", {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}),
    ("llama", "rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}),
    ("llama", "rope_parameters", {"rope_type": "default", "rope_theta": 5e5}),
    ("llama", "attention_bias", True),
    ("llama", "mlp_bias", True),
    ("llama", "head_dim", 16),
    ("llama", "hidden_act", "gelu"),
    ("llama", "rms_norm_eps", 1e-6),
    ("llama", "partial_rotary_factor", 0.5),
    ("llama", "attn_logit_softcapping", 50.0),
    ("llama", "final_logit_softcapping", 30.0),
    ("llama", "tie_word_embeddings", True),
    ("llama", "num_key_value_heads", 1),
    ("vit", "qkv_bias", False),
    ("vit", "hidden_act", "relu"),
    ("vit", "layer_norm_eps", 1e-6),
    ("vit", "num_channels", 1),
    ("vit", "intermediate_size", 3 * W),
    ("resnet", "hidden_act", "gelu"),
    ("resnet", "downsample_in_first_stage", True),
    ("resnet", "downsample_in_bottleneck", True),
    ("resnet", "depths", [1, 2]),
]


@pytest.mark.parametrize(("family", "key", "value"), OTHER_KEYS, ids=str)
def test_a_key_that_changes_what_is_computed_is_refused_with_both_values(
    folders: Path, tmp_path: Path, family: str, key: str, value: Any
):
    with pytest.raises(UserError, match=r"is another model than the config's") as e:
        read(folders, tmp_path, family, {key: value})
    assert key.replace("parameters", "") in str(e.value)
    assert len(str(e.value).splitlines()) <= 3


@pytest.mark.parametrize("family", MODELS)
def test_keys_that_change_nothing_are_silent_and_unknown_ones_are_listed(
    folders: Path, tmp_path: Path, family: str
):
    silent = {
        "use_cache": False, "initializer_range": 0.1, "transformers_version": "4.0",
        "id2label": {"0": "a"}, "hidden_dropout_prob": 0.3, "pad_token_id": 0, "pruned_heads": {},
        "quantization_config": None, "is_encoder_decoder": False, "torch_dtype": "bfloat16",
    }  # fmt: skip
    assert read(folders, tmp_path, family, silent) == []
    listed = read(folders, tmp_path, family, {"sliding_window": 4, "qk_norm": False})
    assert listed == ["config.json: sliding_window = 4", "config.json: qk_norm = False"]


X = np.ones((2, W), np.float32)
OTHER_ARRAYS = [
    ("bert", "bert.encoder.layer.1.attention.self.query.weight"),
    ("bert", "bert.encoder.layer.0.attention.self.distance_embedding.weight"),
    ("bert", "bert.encoder.layer.0.output.adapters.default.adapter_down.0.weight"),
    ("bert", "bert.encoder.layer.0.attention.self.query.lora_A.default.weight"),
    ("bert", "bert.encoder.embedding_hidden_mapping_in.weight"),
    ("bert_mlm", "cls.predictions.decoder.weight"),
    ("bert_mlm", "bert.encoder.layer.0.crossattention.self.query.weight"),
    ("gpt2", "lm_head.weight"),
    ("gpt2", "transformer.h.1.attn.c_attn.bias"),
    ("gpt2", "transformer.h.0.attn.q_norm.weight"),
    ("gpt2", "transformer.h.0.crossattention.c_attn.weight"),
    ("gpt2", "prompt_encoder.default.embedding.weight"),
    ("llama", "model.layers.0.self_attn.q_norm.weight"),
    ("llama", "model.layers.0.self_attn.q_proj.bias"),
    ("llama", "model.layers.0.post_feedforward_layernorm.weight"),
    ("llama", "model.layers.0.block_sparse_moe.gate.weight"),
    ("llama", "model.layers.1.mlp.up_proj.weight"),
    ("llama", "model.layers.0.mlp.up_proj.qzeros"),
    ("vit", "vit.encoder.layer.0.lambda_1"),
    ("vit", "vit.embeddings.register_tokens"),
    ("vit", "vit.embeddings.distillation_token"),
    ("resnet", "resnet.encoder.stages.0.layers.0.attention.squeeze.weight"),
    ("resnet", "resnet.encoder.stages.1.layers.1.layer.0.convolution.weight"),
]


@pytest.mark.parametrize(("family", "name"), OTHER_ARRAYS)
def test_an_array_that_the_model_does_not_compute_with_is_refused(
    folders: Path, tmp_path: Path, family: str, name: str
):
    with pytest.raises(UserError, match="1 of its arrays are not of") as e:
        read(folders, tmp_path, family, arrays={name: X})
    assert name in str(e.value)


@pytest.mark.parametrize(
    ("family", "name", "said"),
    [
        ("bert", "cls.predictions.transform.dense.weight", 1),
        ("bert", "cls.seq_relationship.weight", 1),
        ("bert_mlm", "bert.pooler.dense.weight", 1),
        ("gpt2", "score.weight", 1),
        ("llama", "score.weight", 1),
        ("vit", "vit.pooler.dense.weight", 1),
        ("bert", "bert.embeddings.position_ids", 0),
        ("bert", "embeddings.position_ids", 0),
        ("gpt2", "transformer.h.0.attn.bias", 0),
        ("gpt2", "h.0.attn.masked_bias", 0),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq", 0),
        ("resnet", "resnet.embedder.embedder.normalization.num_batches_tracked", 0),
    ],
)
def test_heads_of_other_tasks_are_listed_and_fixed_tables_are_not(
    folders: Path, tmp_path: Path, family: str, name: str, said: int
):
    array = np.arange(3) if "position_ids" in name or "tracked" in name else X
    found = read(folders, tmp_path, family, arrays={name: array})
    assert found == [f"1 arrays of other heads: {name}"] * said


@pytest.mark.parametrize(
    ("family", "copy", "first"),
    [
        ("gpt2", "lm_head.weight", "transformer.wte.weight"),
        ("bert_mlm", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("bert_mlm", "cls.predictions.decoder.bias", "cls.predictions.bias"),
    ],
)
def test_a_tied_array_that_is_stored_twice_is_the_same_model(
    folders: Path, tmp_path: Path, family: str, copy: str, first: str
):
    stored = load_file(folders / family / "model.safetensors")[first]
    assert read(folders, tmp_path, family, arrays={copy: stored}) == []


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("transformer.wte.weight", np.full((V, W), np.nan, np.float32), "holds NaN"),
        ("transformer.wte.weight", np.zeros((V, W), np.int8), "holds int8, as quantized"),
        ("transformer.wte.weight", np.zeros((V, W), np.uint8), "holds uint8, as quantized"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(
    folders: Path, tmp_path: Path, name: str, array: np.ndarray, said: str
):
    with pytest.raises(UserError, match=said):
        read(folders, tmp_path, "gpt2", arrays={name: array})


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("config.json", "", "is not JSON"),
        ("config.json", '{"model_type": "gpt2",}', "is not JSON"),
        ("config.json", "[]", "holds a list; expected an object"),
        ("model.safetensors.index.json", "{}", "has no weight_map"),
        ("model.safetensors.index.json", "no", "is not JSON"),
        ("model.safetensors.index.json", '{"weight_map": []}', "has no weight_map"),
    ],
)
def test_a_damaged_description_is_one_sentence(
    folders: Path, tmp_path: Path, file: str, text: str, said: str
):
    read(folders, tmp_path, "gpt2")
    if file != "config.json":
        (tmp_path / "model.safetensors").unlink()
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=said):
        read_pretrained(epath.Path(tmp_path), *MODELS["gpt2"])
