"""GPT-2."""

from typing import Any

from lepton_jax.models.hugging_face.family import ACTIVATIONS, Family, Keys, Rule, Rules, norm_rules


def _gpt2_rules(keys: Keys) -> Rules:
    yield Rule(("tokens.embedding",), "transformer.wte.weight")
    yield Rule(("positions.embedding",), "transformer.wpe.weight")
    for i in range(keys["layers"]):
        ours, theirs = f"blocks.{i}", f"transformer.h.{i}"
        yield from norm_rules(f"{ours}.attention_norm", f"{theirs}.ln_1")
        yield from norm_rules(f"{ours}.mlp_norm", f"{theirs}.ln_2")
        for a, b in (("kernel", "weight"), ("bias", "bias")):  # matrices are [I, O] there, too
            qkv = tuple(f"{ours}.attention.{x}.{a}" for x in "qkv")
            yield Rule(qkv, f"{theirs}.attn.c_attn.{b}")
            yield Rule((f"{ours}.attention.o.{a}",), f"{theirs}.attn.c_proj.{b}")
            yield Rule((f"{ours}.mlp.up.{a}",), f"{theirs}.mlp.c_fc.{b}")
            yield Rule((f"{ours}.mlp.down.{a}",), f"{theirs}.mlp.c_proj.{b}")
    yield from norm_rules("norm", "transformer.ln_f")
    if not keys["tied"]:
        yield Rule(("head.embedding",), "lm_head.weight")


def _gpt2_follows(keys: Keys, _: Any, outputs: Any) -> dict[str, Any]:
    return {
        "vocab_size": outputs,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
    }


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
    values=ACTIVATIONS,
    base="transformer.",
    head=(),
    length="n_positions",
    neutral=(
        *("n_ctx", "attn_pdrop", "embd_pdrop", "resid_pdrop", "reorder_and_upcast_attn"),
        *("summary_activation", "summary_first_dropout", "summary_proj_to_labels"),
        *("summary_type", "summary_use_proj"),
    ),
    unread=r".*\.attn\.(masked_)?bias|(score|multiple_choice_head)\..*",
    copies={"lm_head.weight": "transformer.wte.weight"},
)
