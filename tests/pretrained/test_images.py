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
