"""Our models in the words of Hugging Face: config keys, names of arrays and their layouts.

A `Family` is one table for both directions: `init_from` reads it from theirs to ours, `export` from
ours to theirs. Pure data and numpy; `training/pretrained.py` reads and writes the folders.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lepton_jax.errors import UserError, did_you_mean

# I inputs, O outputs of a layer; H, W a window; P a patch; C channels; D width; T tokens.

Keys = Mapping[str, Any]


class Layout(NamedTuple):
    """How an array of theirs becomes ours, and back."""

    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda x: x, lambda x: x)
MATRIX = Layout(np.transpose, np.transpose)  # [O, I] and [I, O]
WINDOW = Layout(lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1))  # OIHW, HWIO
ROW = Layout(lambda x: x.reshape(-1), lambda x: x[None, None])  # [1, 1, D] and [D]
TABLE = Layout(lambda x: x[0], lambda x: x[None])  # [1, T, D] and [T, D]


def patches(size: int) -> Layout:
    """A convolution [D, C, P, P] whose stride is its window, and a matrix [P P C, D]."""
    return Layout(
        lambda x: x.transpose(2, 3, 1, 0).reshape(-1, len(x)),
        lambda x: x.reshape(size, size, -1, x.shape[-1]).transpose(3, 2, 0, 1),
    )


class Rule(NamedTuple):
    """An array of theirs, and ours; several of ours lie in it side by side along the last axis."""

    ours: tuple[str, ...]
    theirs: str
    layout: Layout = SAME


Rules = Iterator[Rule]


@dataclass(frozen=True)
class Family:
    """What a model of ours is called there, and how one becomes the other."""

    model: str
    model_type: str
    architecture: str
    keys: Mapping[str, tuple[str, Any]]
    """Our config key: their key, and its value where their config leaves it out."""
    rules: Callable[[Keys], Rules]
    """The arrays of a model with these (our) keys."""
    follows: Callable[[Keys, Any, Any], dict[str, Any]]
    """More of their keys, given our keys, the model's input shape and its outputs."""
    ours: Keys = field(default_factory=dict)
    """Keys of ours that have one value in this family."""
    values: Keys = field(default_factory=dict)
    """Values of theirs in our words, where they are other words."""
    base: str = ""
    """What stands before a name in a whole model, and not in one without its head."""
    head: tuple[str, ...] = ("head.",)
    """How our names of what a new task brings anew begin."""
    length: str = ""
    """Their key of how many positions there are; a model of ours may have fewer."""
    settled: Callable[[Keys], Keys] = dict
    """Their config with its older and newer spellings made one."""


def completed(keys: Keys) -> dict[str, Any]:
    """Our keys with what None stands for."""
    defaults = {"kv_heads": keys.get("heads"), "mlp_width": 4 * keys.get("width", 0)}
    return {k: defaults.get(k, v) if v is None else v for k, v in keys.items()}


def _linear(ours: str, theirs: str) -> Rules:
    yield Rule((f"{ours}.kernel",), f"{theirs}.weight", MATRIX)
    yield Rule((f"{ours}.bias",), f"{theirs}.bias")


def _norm(ours: str, theirs: str) -> Rules:
    yield Rule((f"{ours}.scale",), f"{theirs}.weight")
    yield Rule((f"{ours}.bias",), f"{theirs}.bias")


def _conv_norm(ours: str, conv: str, norm: str) -> Rules:
    yield Rule((f"{ours}.conv.kernel",), f"{conv}.weight", WINDOW)
    yield from _norm(f"{ours}.norm", norm)
    yield Rule((f"{ours}.norm.mean",), f"{norm}.running_mean")
    yield Rule((f"{ours}.norm.var",), f"{norm}.running_var")


# Residual networks


def _resnet_blocks(keys: Keys) -> Iterator[tuple[str, int, int, bool]]:
    """Our block, its stage, its place there, and whether its shortcut is a projection."""
    number = 0
    for stage, count in enumerate(keys["blocks"]):
        for place in range(count):
            projects = place == 0 and (stage > 0 or keys["bottleneck"])
            yield f"blocks.{number}", stage, place, projects
            number += 1


def _resnet_rules(keys: Keys) -> Rules:
    def conv_norm(ours: str, theirs: str) -> Rules:
        return _conv_norm(ours, f"{theirs}.convolution", f"{theirs}.normalization")

    yield from conv_norm("stem", "resnet.embedder.embedder")
    for ours, stage, place, projects in _resnet_blocks(keys):
        theirs = f"resnet.encoder.stages.{stage}.layers.{place}"
        for layer in range(3 if keys["bottleneck"] else 2):
            yield from conv_norm(f"{ours}.layers.{layer}", f"{theirs}.layer.{layer}")
        if projects:
            yield from conv_norm(f"{ours}.projection", f"{theirs}.shortcut")
    yield from _linear("head", "classifier.1")


def _timm_resnet_rules(keys: Keys) -> Rules:
    yield from _conv_norm("stem", "conv1", "bn1")
    for ours, stage, place, projects in _resnet_blocks(keys):
        theirs = f"layer{stage + 1}.{place}"
        for layer in range(3 if keys["bottleneck"] else 2):
            names = (f"{theirs}.conv{layer + 1}", f"{theirs}.bn{layer + 1}")
            yield from _conv_norm(f"{ours}.layers.{layer}", *names)
        if projects:
            names = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
            yield from _conv_norm(f"{ours}.projection", *names)
    yield from _linear("head", "fc")


def _resnet_follows(keys: Keys, input_shape: Any, _: Any) -> dict[str, Any]:
    expansion = 4 if keys["bottleneck"] else 1
    widths = [keys["width"] * 2**stage * expansion for stage in range(len(keys["blocks"]))]
    return {
        "hidden_sizes": widths,
        "num_channels": input_shape[-1],
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
    }


_RESNET_KEYS = {
    "blocks": ("depths", [3, 4, 6, 3]),
    "bottleneck": ("layer_type", "bottleneck"),
    "width": ("embedding_size", 64),
}
_TIMM = {
    "resnet18": ([2, 2, 2, 2], "basic"),
    "resnet34": ([3, 4, 6, 3], "basic"),
    "resnet50": ([3, 4, 6, 3], "bottleneck"),
    "resnet101": ([3, 4, 23, 3], "bottleneck"),
    "resnet152": ([3, 8, 36, 3], "bottleneck"),
}
"""timm's architectures that are these networks; it names them and states no sizes."""


def _timm_settled(theirs: Keys) -> dict[str, Any]:
    name = theirs["architecture"]
    if name not in _TIMM:
        raise UserError(
            f"timm's {name!r} is not known here{did_you_mean(name, _TIMM)}; known are "
            + ", ".join(_TIMM)
        )
    depths, kind = _TIMM[name]
    return {**theirs, "depths": depths, "layer_type": kind}


RESNET = Family(
    model="resnet",
    model_type="resnet",
    architecture="ResNetForImageClassification",
    keys=_RESNET_KEYS,
    rules=_resnet_rules,
    follows=_resnet_follows,
    ours={"stem": "imagenet"},
    values={"bottleneck": True, "basic": False},
    base="resnet.",
)
TIMM_RESNET = Family(
    model="resnet",
    model_type="timm",
    architecture="",
    keys=_RESNET_KEYS,
    rules=_timm_resnet_rules,
    follows=lambda keys, input_shape, outputs: {},
    ours={"stem": "imagenet"},
    values={"bottleneck": True, "basic": False},
    settled=_timm_settled,
)

# Transformers


def _vit_rules(keys: Keys) -> Rules:
    yield Rule(("token",), "vit.embeddings.cls_token", ROW)
    yield Rule(("positions.embedding",), "vit.embeddings.position_embeddings", TABLE)
    theirs = "vit.embeddings.patch_embeddings.projection"
    yield Rule(("patches.kernel",), f"{theirs}.weight", patches(keys["patch"]))
    yield Rule(("patches.bias",), f"{theirs}.bias")
    for i in range(keys["layers"]):
        ours, theirs = f"blocks.{i}", f"vit.encoder.layer.{i}"
        yield from _norm(f"{ours}.attention_norm", f"{theirs}.layernorm_before")
        yield from _norm(f"{ours}.mlp_norm", f"{theirs}.layernorm_after")
        for a, b in (
            ("attention.q", "attention.attention.query"),
            ("attention.k", "attention.attention.key"),
            ("attention.v", "attention.attention.value"),
            ("attention.o", "attention.output.dense"),
            ("mlp.up", "intermediate.dense"),
            ("mlp.down", "output.dense"),
        ):
            yield from _linear(f"{ours}.{a}", f"{theirs}.{b}")
    yield from _norm("norm", "vit.layernorm")
    yield from _linear("head", "classifier")


def _vit_follows(keys: Keys, input_shape: Any, _: Any) -> dict[str, Any]:
    height, width, channels = input_shape
    return {
        "image_size": height if height == width else [height, width],
        "num_channels": channels,
        "intermediate_size": 4 * keys["width"],
        "qkv_bias": True,
    }


_ACTIVATIONS = {"gelu": "gelu_exact", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
"""Our "gelu" is the tanh form, theirs is exact."""
_SIZES = {
    "layers": ("num_hidden_layers", 12),
    "width": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
}

VIT = Family(
    model="vit",
    model_type="vit",
    architecture="ViTForImageClassification",
    keys={
        **_SIZES,
        "mlp": ("hidden_act", "gelu"),
        "epsilon": ("layer_norm_eps", 1e-12),
        "patch": ("patch_size", 16),
    },
    rules=_vit_rules,
    follows=_vit_follows,
    ours={"positions": "learned", "pool": "token"},
    values=_ACTIVATIONS,
    base="vit.",
)


def _encoder_rules(keys: Keys) -> Rules:
    for kind in ("word", "position", "token_type"):
        ours = {"word": "tokens", "position": "positions", "token_type": "kinds"}[kind]
        yield Rule((f"{ours}.embedding",), f"bert.embeddings.{kind}_embeddings.weight")
    yield from _norm("norm", "bert.embeddings.LayerNorm")
    for i in range(keys["layers"]):
        ours, theirs = f"blocks.{i}", f"bert.encoder.layer.{i}"
        yield from _norm(f"{ours}.attention_norm", f"{theirs}.attention.output.LayerNorm")
        yield from _norm(f"{ours}.mlp_norm", f"{theirs}.output.LayerNorm")
        for a, b in (
            ("attention.q", "attention.self.query"),
            ("attention.k", "attention.self.key"),
            ("attention.v", "attention.self.value"),
            ("attention.o", "attention.output.dense"),
            ("mlp.up", "intermediate.dense"),
            ("mlp.down", "output.dense"),
        ):
            yield from _linear(f"{ours}.{a}", f"{theirs}.{b}")


def _bert_rules(keys: Keys) -> Rules:
    yield from _encoder_rules(keys)
    yield from _linear("pooler", "bert.pooler.dense")
    yield from _linear("head", "classifier")


def _bert_mlm_rules(keys: Keys) -> Rules:
    yield from _encoder_rules(keys)
    yield from _linear("transform", "cls.predictions.transform.dense")
    yield from _norm("transform_norm", "cls.predictions.transform.LayerNorm")
    yield Rule(("bias",), "cls.predictions.bias")


def _bert_follows(keys: Keys, input_shape: Any, _: Any) -> dict[str, Any]:
    return {
        "vocab_size": input_shape[1],
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
    }


_BERT: dict[str, Any] = dict(
    model_type="bert",
    keys={**_SIZES, "mlp_width": ("intermediate_size", 3072)},
    follows=_bert_follows,
    base="bert.",
    length="max_position_embeddings",
)
BERT = Family(
    model="bert",
    architecture="BertForSequenceClassification",
    rules=_bert_rules,
    head=("head.", "pooler."),
    **_BERT,
)
BERT_MLM = Family(
    model="bert_mlm",
    architecture="BertForMaskedLM",
    rules=_bert_mlm_rules,
    head=("transform", "bias"),
    **_BERT,
)


def _gpt2_rules(keys: Keys) -> Rules:
    yield Rule(("tokens.embedding",), "transformer.wte.weight")
    yield Rule(("positions.embedding",), "transformer.wpe.weight")
    for i in range(keys["layers"]):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        yield from _norm(f"{ours}.attention_norm", f"{theirs}.ln_1")
        yield from _norm(f"{ours}.mlp_norm", f"{theirs}.ln_2")
        for a, b in (("kernel", "weight"), ("bias", "bias")):  # matrices are [I, O] there, too
            qkv = tuple(f"{ours}.attention.{x}.{a}" for x in "qkv")
            yield Rule(qkv, f"{theirs}.attn.c_attn.{b}")
            yield Rule((f"{ours}.attention.o.{a}",), f"{theirs}.attn.c_proj.{b}")
            yield Rule((f"{ours}.mlp.up.{a}",), f"{theirs}.mlp.c_fc.{b}")
            yield Rule((f"{ours}.mlp.down.{a}",), f"{theirs}.mlp.c_proj.{b}")
    yield from _norm("norm", "transformer.ln_f")
    if not keys["tied"]:
        yield Rule(("head.embedding",), "lm_head.weight")


def _llama_rules(keys: Keys) -> Rules:
    yield Rule(("tokens.embedding",), "model.embed_tokens.weight")
    for i in range(keys["layers"]):
        ours, theirs = f"blocks.{i}", f"model.layers.{i}"
        yield Rule((f"{ours}.attention_norm.scale",), f"{theirs}.input_layernorm.weight")
        yield Rule((f"{ours}.mlp_norm.scale",), f"{theirs}.post_attention_layernorm.weight")
        for x in "qkvo":
            rule = (f"{ours}.attention.{x}.kernel",), f"{theirs}.self_attn.{x}_proj.weight"
            yield Rule(*rule, MATRIX)
        for x in ("gate", "up", "down"):
            yield Rule((f"{ours}.mlp.{x}.kernel",), f"{theirs}.mlp.{x}_proj.weight", MATRIX)
    yield Rule(("norm.scale",), "model.norm.weight")
    if not keys["tied"]:
        yield Rule(("head.embedding",), "lm_head.weight")


def _gpt2_follows(keys: Keys, _: Any, outputs: Any) -> dict[str, Any]:
    return {
        "vocab_size": outputs,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
    }


def _llama_follows(keys: Keys, _: Any, outputs: Any) -> dict[str, Any]:
    return {
        "vocab_size": outputs,
        "hidden_act": "silu",
        "head_dim": keys["width"] // keys["heads"],
        "attention_bias": False,
        "mlp_bias": False,
        "rope_parameters": {"rope_theta": keys["rope_base"], "rope_type": "default"},
    }


def _llama_settled(theirs: Keys) -> dict[str, Any]:
    """Positions are one section of newer configs, and two keys of older ones."""
    older = {"rope_type": "default", **(theirs.get("rope_scaling") or {})}
    older["rope_theta"] = theirs.get("rope_theta", 10_000.0)
    rope = theirs.get("rope_parameters") or older
    return {**theirs, "rope_parameters": rope, "rope_theta": rope["rope_theta"]}


GPT2 = Family(
    model="transformer",
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    keys={
        "layers": ("n_layer", 12),
        "width": ("n_embd", 768),
        "heads": ("n_head", 12),
        "mlp_width": ("n_inner", None),
        "mlp": ("activation_function", "gelu_new"),
        "epsilon": ("layer_norm_epsilon", 1e-5),
        "tied": ("tie_word_embeddings", True),
    },
    rules=_gpt2_rules,
    follows=_gpt2_follows,
    ours={"norm": "layer", "positions": "learned", "bias": True},
    values=_ACTIVATIONS,
    base="transformer.",
    head=(),
    length="n_positions",
)
LLAMA = Family(
    model="transformer",
    model_type="llama",
    architecture="LlamaForCausalLM",
    keys={
        "layers": ("num_hidden_layers", 32),
        "width": ("hidden_size", 4096),
        "heads": ("num_attention_heads", 32),
        "kv_heads": ("num_key_value_heads", None),
        "mlp_width": ("intermediate_size", 11008),
        "epsilon": ("rms_norm_eps", 1e-6),
        "rope_base": ("rope_theta", 10_000.0),
        "tied": ("tie_word_embeddings", False),
    },
    rules=_llama_rules,
    follows=_llama_follows,
    ours={"norm": "rms", "positions": "rope", "mlp": "swiglu", "bias": False},
    base="model.",
    head=(),
    length="max_position_embeddings",
    settled=_llama_settled,
)

FAMILIES = (RESNET, TIMM_RESNET, VIT, BERT, BERT_MLM, GPT2, LLAMA)
