"""GPT-2 and Llama compute what transformers' do, with its weights, and go back to it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("kind", PEERS)
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
    logits, cache = ours.read(jnp.asarray(prompt), ours.cache(2, T))
    read, tokens = jax.jit(lambda tokens, cache: ours.read(tokens, cache)), [prompt]
    for _ in range(more):
        tokens.append(np.asarray(logits[:, -1:].argmax(-1), np.int32))
        logits, cache = read(tokens[-1], cache)
    np.testing.assert_array_equal(np.concatenate(tokens, axis=1), expected)
