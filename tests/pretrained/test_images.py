"""ResNet and ViT compute what transformers' do, with its weights, and go back to it."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tests.pretrained import peers
from tests.pretrained.peers import torch, transformers

IMAGES = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)


def theirs(model, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2))).logits.numpy()


RESNETS = {
    "bottleneck": (
        dict(embedding_size=8, hidden_sizes=[32, 64], depths=[2, 1], layer_type="bottleneck"),
        dict(width=8, blocks=(2, 1), bottleneck=True),
    ),
    "basic": (
        dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic"),
        dict(width=8, blocks=(1, 2), bottleneck=False),
    ),
}


@pytest.mark.parametrize("kind", RESNETS)
def test_a_resnet_computes_the_same_in_both_directions(kind: str, tmp_path: Path):
    config, keys = RESNETS[kind]
    peer = peers.peer("ResNetForImageClassification", **config, num_labels=5)
    model = peers.chosen("resnet", **keys)
    ours = peers.read(peers.saved(peer, tmp_path / "a"), model, (64, 64, 3), 5)
    assert peers.difference(jax.jit(ours)(IMAGES), theirs(peer, IMAGES)) < 1e-5
    peers.written(tmp_path / "b", ours, model, (64, 64, 3), 5)
    back = transformers.ResNetForImageClassification.from_pretrained(tmp_path / "b").eval()
    np.testing.assert_array_equal(theirs(back, IMAGES), theirs(peer, IMAGES))


VIT = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    image_size=8,
    patch_size=4,
)
VIT_KEYS = dict(width=16, layers=2, heads=2, patch=4, mlp="gelu_exact", epsilon=1e-12)


@pytest.mark.parametrize("scan", [False, True])
def test_a_vit_computes_the_same_in_both_directions(scan: bool, tmp_path: Path):
    images = IMAGES[:, :8, :8]
    peer = peers.peer("ViTForImageClassification", **VIT, num_labels=5)
    model = peers.chosen("vit", **VIT_KEYS, scan=scan)
    ours = peers.read(peers.saved(peer, tmp_path / "a"), model, (8, 8, 3), 5)
    assert peers.difference(ours(images), theirs(peer, images)) < 1e-5
    peers.written(tmp_path / "b", ours, model, (8, 8, 3), 5)
    back = transformers.ViTForImageClassification.from_pretrained(tmp_path / "b").eval()
    np.testing.assert_array_equal(theirs(back, images), theirs(peer, images))
