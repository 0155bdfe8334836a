"""A family of models: our names and Hugging Face's side by side, for both directions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

# I inputs, O outputs of a layer; H, W a window; P a patch; C channels; D width; T tokens.

Keys = Mapping[str, Any]


class Relayout(NamedTuple):
    """A layout change: from an array of theirs to ours, and back."""

    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]


SAME = Relayout(lambda x: x, lambda x: x)
MATRIX = Relayout(np.transpose, np.transpose)  # [O, I] and [I, O]
WINDOW = Relayout(
    lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1)
)  # OIHW, HWIO
ROW = Relayout(lambda x: x.reshape(-1), lambda x: x[None, None])  # [1, 1, D] and [D]
TABLE = Relayout(lambda x: x[0], lambda x: x[None])  # [1, T, D] and [T, D]


def patches(size: int) -> Relayout:
    """Returns the layouts of a patch embedding: a convolution [D, C, P, P], a matrix [P P C, D]."""
    return Relayout(
        lambda x: x.transpose(2, 3, 1, 0).reshape(-1, len(x)),
        lambda x: x.reshape(size, size, -1, x.shape[-1]).transpose(3, 2, 0, 1),
    )


class Rule(NamedTuple):
    """An array of theirs and the arrays of ours that it holds, concatenated along the last axis."""

    ours: tuple[str, ...]
    theirs: str
    layout: Relayout = SAME


Rules = Iterator[Rule]


@dataclass(frozen=True)
class Family:
    """A model of ours, its counterpart at Hugging Face, and the mapping between the two."""

    model: str
    model_type: str
    architecture: str
    keys: Mapping[str, tuple[str, Any]]
    """Our config key: their key, and its default where their config leaves it out."""
    rules: Callable[[Keys], Rules]
    """The arrays of a model with these (our) keys."""
    follows: Callable[[Keys, Any, Any], dict[str, Any]]
    """Computes the rest of their keys from our keys, the model's input shape and its outputs."""
    ours: Keys = field(default_factory=dict)
    """Our keys that have a fixed value in this family."""
    values: Keys = field(default_factory=dict)
    """Their values and ours, where they differ."""
    base: str = ""
    """The prefix of their names in a model with its head; a model without its head has none."""
    head: tuple[str, ...] = ("head.",)
    """Prefixes of our names of the head, which a new task initialises anew."""
    length: str = ""
    """Their key of the number of positions; a model of ours may have fewer."""
    normalize: Callable[[Keys], Keys] = dict
    """Rewrites older and newer spellings of their config into one."""
    fixed: Keys = field(default_factory=dict)
    """Their keys that change what a model computes, with the one value that ours computes. It is
    also their default."""
    neutral: tuple[str, ...] = ()
    """Their keys that change nothing of what ours computes, beside `NEUTRAL`."""
    unread: str = ""
    """Matches names of their arrays that belong to other heads or are no weights."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Their arrays that a tied model may hold a second time, and the name of the first."""


_NAMES = """
    architectures model_type torch_dtype dtype transformers_version _name_or_path _commit_hash
    _attn_implementation_autoset _num_labels num_labels id2label label2id problem_type
    finetuning_task task_specific_params tokenizer_class prefix output_attentions
    output_hidden_states return_dict torchscript use_bfloat16 use_cache gradient_checkpointing
    initializer_range initializer_factor chunk_size_feed_forward
    hidden_dropout_prob attention_probs_dropout_prob attention_dropout classifier_dropout
    bos_token_id eos_token_id pad_token_id sep_token_id cls_token_id unk_token_id mask_token_id
    decoder_start_token_id max_length min_length do_sample early_stopping num_beams num_beam_groups
    diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty
    no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences
    output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
    remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
    tf_legacy_loss cross_attention_hidden_size tie_encoder_decoder is_decoder tie_word_embeddings
"""
NEUTRAL = frozenset(_NAMES.split())
"""Keys of every config there that change nothing of what most models compute here: names, dropout
(ours is a key of the config), tokens and how texts are generated. Where one does, a family has it
in `keys` or `fixed`."""
FIXED: Keys = {
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "pruned_heads": {},
    "quantization_config": None,
    "auto_map": None,
}
"""Keys of every config there that change what a model computes, with the value that ours has."""


def complete_keys(keys: Keys) -> dict[str, Any]:
    """Returns our keys with the values that None stands for."""
    defaults = {"kv_heads": keys.get("heads"), "mlp_width": 4 * keys.get("width", 0)}
    return {k: defaults.get(k, v) if v is None else v for k, v in keys.items()}


def linear_rules(ours: str, theirs: str) -> Rules:
    yield Rule((f"{ours}.kernel",), f"{theirs}.weight", MATRIX)
    yield Rule((f"{ours}.bias",), f"{theirs}.bias")


def norm_rules(ours: str, theirs: str) -> Rules:
    yield Rule((f"{ours}.scale",), f"{theirs}.weight")
    yield Rule((f"{ours}.bias",), f"{theirs}.bias")


ACTIVATIONS = {"gelu": "gelu_exact", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
"""Our "gelu" is the tanh form, theirs is exact."""
SIZES = {
    "layers": ("num_hidden_layers", 12),
    "width": ("hidden_size", 768),
    "heads": ("num_attention_heads", 12),
}
