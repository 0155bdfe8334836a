"""BERT, for classification and for masked language modelling."""

from typing import Any

from lepton_jax.models.hugging_face.family import (
    SIZES,
    Family,
    Keys,
    Rule,
    Rules,
    linear_rules,
    norm_rules,
)


def _encoder_rules(keys: Keys) -> Rules:
    for kind in ("word", "position", "token_type"):
        ours = {"word": "tokens", "position": "positions", "token_type": "kinds"}[kind]
        yield Rule((f"{ours}.embedding",), f"bert.embeddings.{kind}_embeddings.weight")
    yield from norm_rules("norm", "bert.embeddings.LayerNorm")
    for i in range(keys["layers"]):
        ours, theirs = f"blocks.{i}", f"bert.encoder.layer.{i}"
        yield from norm_rules(f"{ours}.attention_norm", f"{theirs}.attention.output.LayerNorm")
        yield from norm_rules(f"{ours}.mlp_norm", f"{theirs}.output.LayerNorm")
        for a, b in (
            ("attention.q", "attention.self.query"),
            ("attention.k", "attention.self.key"),
            ("attention.v", "attention.self.value"),
            ("attention.o", "attention.output.dense"),
            ("mlp.up", "intermediate.dense"),
            ("mlp.down", "output.dense"),
        ):
            yield from linear_rules(f"{ours}.{a}", f"{theirs}.{b}")


def _bert_rules(keys: Keys) -> Rules:
    yield from _encoder_rules(keys)
    yield from linear_rules("pooler", "bert.pooler.dense")
    yield from linear_rules("head", "classifier")


def _bert_mlm_rules(keys: Keys) -> Rules:
    yield from _encoder_rules(keys)
    yield from linear_rules("transform", "cls.predictions.transform.dense")
    yield from norm_rules("transform_norm", "cls.predictions.transform.LayerNorm")
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
    keys={**SIZES, "mlp_width": ("intermediate_size", 3072)},
    follows=_bert_follows,
    base="bert.",
    length="max_position_embeddings",
    fixed={"position_embedding_type": "absolute", "is_decoder": False},
    # The pooler's sizes were read by TensorFlow's first BERT alone.
    neutral=(
        *("directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
        *("pooler_size_per_head", "pooler_type"),
    ),
)
BERT = Family(
    model="bert",
    architecture="BertForSequenceClassification",
    rules=_bert_rules,
    head=("head.", "pooler."),
    unread=r"(.*\.)?position_ids|cls\..*|qa_outputs\..*",
    **_BERT,
)
BERT_MLM = Family(
    model="bert_mlm",
    architecture="BertForMaskedLM",
    rules=_bert_mlm_rules,
    head=("transform", "bias"),
    unread=(
        r"(.*\.)?position_ids|(bert\.)?pooler\..*|cls\.seq_relationship\..*|classifier\..*|"
        r"qa_outputs\..*"
    ),
    copies={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    **{**_BERT, "fixed": {**_BERT["fixed"], "tie_word_embeddings": True}},
)
