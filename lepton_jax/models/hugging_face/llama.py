"""Llama."""

from typing import Any

from lepton_jax.models.hugging_face.family import MATRIX, Family, Keys, Rule, Rules


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


def _llama_follows(keys: Keys, _: Any, outputs: Any) -> dict[str, Any]:
    return {
        "vocab_size": outputs,
        "hidden_act": "silu",
        "head_dim": keys["width"] // keys["heads"],
        "attention_bias": False,
        "mlp_bias": False,
        "rope_parameters": {"rope_theta": keys["rope_base"], "rope_type": "default"},
    }


def _normalize_llama(theirs: Keys) -> dict[str, Any]:
    """Returns a config with positions as newer configs have them, a section, and as older do."""
    older = {"rope_type": "default", **(theirs.get("rope_scaling") or {})}
    older["rope_theta"] = theirs.get("rope_theta", 10_000.0)
    rope = theirs.get("rope_parameters") or older
    return {**theirs, "rope_parameters": rope, "rope_theta": rope["rope_theta"]}


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
    fixed={
        "partial_rotary_factor": 1.0,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    },
    neutral=("pretraining_tp", "rope_scaling"),  # `normalize` has made rope_parameters of it
    unread=r".*rotary_emb\.inv_freq|score\..*",
    copies={"lm_head.weight": "model.embed_tokens.weight"},
    normalize=_normalize_llama,
)
