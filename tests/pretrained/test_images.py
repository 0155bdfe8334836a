"""ResNet and ViT compute what transformers' do, with its weights, and go back to it."""

from pathlib import Path

import jax
import numpy as np
import pytest

from lepton_jax.training.functional import Functional
from lepton_jax.trees import flatten_tree
from tests.pretrained import peers
from tests.pretrained.peers import VIT, VIT_KEYS, torch, transformers

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


def test_a_resnet_of_timm_computes_the_same(tmp_path: Path):
    timm = pytest.importorskip("timm", reason="needs the extra 'peers'")
    from safetensors.torch import save_file

    peer = peers.randomized(timm.create_model("resnet18", num_classes=5))
    (tmp_path / "config.json").write_text('{"architecture": "resnet18", "num_classes": 5}')
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    model = peers.chosen("resnet", blocks=(2, 2, 2, 2))
    ours = peers.read(tmp_path, model, (64, 64, 3), 5)
    with torch.no_grad():
        expected = peer(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2))).numpy()
    assert peers.difference(jax.jit(ours)(IMAGES), expected) < 1e-5


def test_sizes_are_those_of_the_papers():
    """Parameters of ResNet-50 and ViT-B/16, and of their folders, are the same in number."""
    for kind, model in (
        ("ResNet", peers.chosen("resnet", blocks=(3, 4, 6, 3), bottleneck=True)),
        ("ViT", peers.chosen("vit")),
    ):
        name = f"{kind}ForImageClassification"
        with torch.device("meta"):
            peer = getattr(transformers, name)(
                getattr(transformers, f"{kind}Config")(num_labels=1000)
            )
        functional = Functional(
            lambda rngs, model=model: model.build((224, 224, 3), 1000, rngs=rngs)
        )
        count = sum(np.prod(x.shape) for x in flatten_tree(functional.params).values())
        assert count == sum(p.numel() for p in peer.parameters())
