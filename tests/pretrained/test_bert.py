"""BERT computes what transformers' does, with its weights, and goes back to it."""

from pathlib import Path

import numpy as np
import pytest

from lepton_jax.nn.token_batch import TokenBatch
from tests.pretrained import peers
from tests.pretrained.peers import torch, transformers

V, T = 40, 12
RNG = np.random.default_rng(0)
TOKENS, KINDS = RNG.integers(0, V, (2, T)), RNG.integers(0, 2, (2, T))
LENGTH = np.array([T, 7])
CONFIG = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=16,
    vocab_size=V,
)


def theirs(model) -> np.ndarray:
    seen = torch.from_numpy(np.arange(T) < LENGTH[:, None]).long()
    tokens, kinds = torch.from_numpy(TOKENS), torch.from_numpy(KINDS)
    with torch.no_grad():
        return model(tokens, attention_mask=seen, token_type_ids=kinds).logits.numpy()


@pytest.mark.parametrize(
    ("name", "kind", "outputs"),
    [("bert", "BertForSequenceClassification", 3), ("bert_mlm", "BertForMaskedLM", V)],
)
def test_a_bert_computes_the_same_in_both_directions(
    name: str, kind: str, outputs: int, tmp_path: Path
):
    labels = {"num_labels": outputs} if name == "bert" else {}
    peer = peers.peer(kind, **CONFIG, **labels)
    model = peers.chosen(name, width=16, layers=2, heads=4, mlp_width=24, dropout=0.0)
    ours = peers.read(peers.saved(peer, tmp_path / "a"), model, (T, V), outputs)
    text = TokenBatch(*(x.astype(np.int32) for x in (TOKENS, LENGTH, KINDS)))
    found, expected = np.array(ours(text)), theirs(peer)
    if name == "bert_mlm":  # what is said of padding is nobody's
        found[1, LENGTH[1] :] = expected[1, LENGTH[1] :] = 0
    assert peers.difference(found, expected) < 1e-5
    peers.written(tmp_path / "b", ours, model, (T, V), outputs, labels=name == "bert")
    back = getattr(transformers, kind).from_pretrained(tmp_path / "b").eval()
    again = theirs(back)
    if name == "bert_mlm":
        again[1, LENGTH[1] :] = 0
    np.testing.assert_array_equal(again, expected)


def test_the_names_of_older_files_are_known(tmp_path: Path):
    from safetensors.torch import save_file

    peer = peers.peer("BertForMaskedLM", **CONFIG)
    model = peers.chosen("bert_mlm", width=16, layers=2, heads=4, mlp_width=24)
    expected = peers.arrays(peers.saved(peer, tmp_path), model, (T, V), V)
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): x.contiguous()
        for name, x in peer.state_dict().items()
        if "decoder" not in name
    }
    save_file(old, tmp_path / "model.safetensors")
    found = peers.arrays(tmp_path, model, (T, V), V)
    assert all(np.array_equal(found[name], x) for name, x in expected.items())
    # To classify, the pooler and the last layer are new; all else is the same.
    bert = peers.chosen("bert", width=16, layers=2, heads=4, mlp_width=24)
    assert not {"pooler.kernel", "head.kernel"} & peers.arrays(tmp_path, bert, (T, V), 3).keys()
