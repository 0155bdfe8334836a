"""GPT-2 and Llama compute what transformers' do, with its weights, and go back to it."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.errors import UserError
from lepton_jax.nn import beam_search
from lepton_jax.training.functional import Functional
from lepton_jax.trees import flatten_tree
from tests.pretrained import peers
from tests.pretrained.peers import torch, transformers

V, T = 40, 12
TOKENS = np.random.default_rng(0).integers(0, V, (2, T)).astype(np.int32)

PEERS: dict[str, Any] = {
    "GPT2LMHeadModel": (
        dict(n_embd=16, n_layer=2, n_head=4, n_positions=16),
        dict(width=16, layers=2, heads=4),
    ),
    "LlamaForCausalLM": (
        dict(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=24,
            max_position_embeddings=16,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        ),
        dict(
            width=16,
            layers=2,
            heads=4,
            kv_heads=2,
            mlp="swiglu",
            mlp_width=24,
            norm="rms",
            epsilon=1e-6,
            positions="rope",
            rope_base=500.0,
            tied=False,
            bias=False,
        ),
    ),
}


def theirs(model: Any) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(TOKENS).long()).logits.numpy()


@pytest.mark.parametrize(("kind", "scan"), [("GPT2LMHeadModel", False), ("LlamaForCausalLM", True)])
def test_a_language_model_computes_the_same_in_both_directions(
    kind: str, scan: bool, tmp_path: Path
):
    config, keys = PEERS[kind]
    peer = peers.peer(kind, **config, vocab_size=V)
    model = peers.chosen("transformer", **keys, scan=scan)
    ours = peers.read(peers.saved(peer, tmp_path / "a"), model, (T, V), V)
    assert peers.difference(ours(TOKENS), theirs(peer)) < 1e-5
    peers.written(tmp_path / "b", ours, model, (T, V), V, labels=False)
    back = getattr(transformers, kind).from_pretrained(tmp_path / "b").eval()
    np.testing.assert_array_equal(theirs(back), theirs(peer))


@pytest.mark.parametrize("kind", PEERS)
def test_greedy_generations_are_the_same_token_by_token(kind: str, tmp_path: Path):
    config, keys = PEERS[kind]
    peer = peers.peer(kind, **config, vocab_size=V, eos_token_id=None)
    ours = peers.read(peers.saved(peer, tmp_path), peers.chosen("transformer", **keys), (T, V), V)
    more, prompt = 8, TOKENS[:, :4]
    expected = peer.generate(
        torch.from_numpy(prompt).long(), do_sample=False, max_new_tokens=more, pad_token_id=0
    ).numpy()
    _, cache = ours.read(jnp.asarray(prompt[:, :-1]), ours.cache(2, T))
    found = beam_search.greedy_tokens(
        ours.read, cache, jnp.asarray(prompt[:, -1]), length=more, end=None
    )
    np.testing.assert_array_equal(found.tokens, expected[:, 4:])
    assert len(np.unique(expected[:, 4:])) > 3


def test_sizes_are_those_of_the_papers():
    """Parameters of GPT-2, BERT-base and Llama 2 7B, as many as in transformers' models."""
    llama = PEERS["LlamaForCausalLM"][1] | dict(
        width=4096, layers=32, heads=32, kv_heads=None, mlp_width=11008, rope_base=10_000.0
    )
    for kind, model, context in (
        ("GPT2LMHeadModel", peers.chosen("transformer", scan=True), 1024),
        ("LlamaForCausalLM", peers.chosen("transformer", **llama, scan=True), 2048),
        ("BertForMaskedLM", peers.chosen("bert_mlm", scan=True), 512),
    ):
        model_class = getattr(transformers, kind)
        with torch.device("meta"):
            peer = model_class(model_class.config_class())
        size = peer.config.vocab_size
        functional = Functional(
            lambda rngs, model=model, context=context, size=size: model.build(
                (context, size), size, rngs=rngs
            )
        )
        count = sum(np.prod(x.shape) for x in flatten_tree(functional.params).values())
        assert count == sum(p.numel() for p in peer.parameters()), kind


def test_rotary_positions_are_read_in_both_spellings_and_no_other_kind(tmp_path: Path):
    config, keys = PEERS["LlamaForCausalLM"]
    peers.saved(peers.peer("LlamaForCausalLM", **config, vocab_size=V), tmp_path)
    model, file = peers.chosen("transformer", **keys), tmp_path / "config.json"
    written = json.loads(file.read_text())
    del written["rope_parameters"]
    file.write_text(json.dumps(written | {"rope_theta": 500.0, "rope_scaling": None}))
    assert peers.arrays(tmp_path, model, (T, V), V)
    scaled = {"rope_theta": 500.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    file.write_text(json.dumps(written | scaled))
    with pytest.raises(UserError, match=r"rope_parameters = .*linear.* there"):
        peers.arrays(tmp_path, model, (T, V), V)
    file.write_text(json.dumps(written | {"rope_theta": 500.0, "max_position_embeddings": 8}))
    with pytest.raises(UserError, match="max_position_embeddings = 8 there, and texts of 12"):
        peers.arrays(tmp_path, model, (T, V), V)
