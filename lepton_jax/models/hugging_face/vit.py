"""ViT."""

from typing import Any

from lepton_jax.models.hugging_face.family import (
    ACTIVATIONS,
    ROW,
    SIZES,
    TABLE,
    Family,
    Keys,
    Rule,
    Rules,
    linear_rules,
    norm_rules,
    patches,
)


def _vit_rules(keys: Keys) -> Rules:
    yield Rule(("token",), "vit.embeddings.cls_token", ROW)
    yield Rule(("positions.embedding",), "vit.embeddings.position_embeddings", TABLE)
    theirs = "vit.embeddings.patch_embeddings.projection"
    yield Rule(("patches.kernel",), f"{theirs}.weight", patches(keys["patch"]))
    yield Rule(("patches.bias",), f"{theirs}.bias")
    for i in range(keys["layers"]):
        ours, theirs = f"blocks.{i}", f"vit.encoder.layer.{i}"
        yield from norm_rules(f"{ours}.attention_norm", f"{theirs}.layernorm_before")
        yield from norm_rules(f"{ours}.mlp_norm", f"{theirs}.layernorm_after")
        for a, b in (
            ("attention.q", "attention.attention.query"),
            ("attention.k", "attention.attention.key"),
            ("attention.v", "attention.attention.value"),
            ("attention.o", "attention.output.dense"),
            ("mlp.up", "intermediate.dense"),
            ("mlp.down", "output.dense"),
        ):
            yield from linear_rules(f"{ours}.{a}", f"{theirs}.{b}")
    yield from norm_rules("norm", "vit.layernorm")
    yield from linear_rules("head", "classifier")


def _vit_follows(keys: Keys, input_shape: Any, _: Any) -> dict[str, Any]:
    height, width, channels = input_shape
    return {
        "image_size": height if height == width else [height, width],
        "num_channels": channels,
        "intermediate_size": 4 * keys["width"],
        "qkv_bias": True,
    }


VIT = Family(
    model="vit",
    model_type="vit",
    architecture="ViTForImageClassification",
    keys={
        **SIZES,
        "mlp": ("hidden_act", "gelu"),
        "epsilon": ("layer_norm_eps", 1e-12),
        "patch": ("patch_size", 16),
    },
    rules=_vit_rules,
    follows=_vit_follows,
    ours={"positions": "learned", "pool": "token"},
    values=ACTIVATIONS,
    base="vit.",
    neutral=("encoder_stride", "pooler_act", "pooler_output_size"),
    unread=r"(vit\.)?pooler\..*|vit\.embeddings\.mask_token|decoder\..*",
)
