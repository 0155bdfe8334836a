"""One training step of our CNNs against the same networks elsewhere, on CPU, images of 32 x 32.

The seed CNN: Conv 32 - pool - Conv 64 - pool - Dense 64 - Dense 10, batch 64, Adam: ours; in plain
Flax, whose step is written like ours, so that convolution and pooling are what differs, once with
the allocator's settings of `train` and once as it comes; in Keras on TensorFlow; in PyTorch, eager.
ResNet-20, batch 128, SGD: the step that `train` compiles of configs/cifar10_resnet20.py, without
augmentation, against PyTorch. A peer that is not installed is left out.
"""

import sys
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import turns
from benchmarks.pairs import Line

STEPS = 5
BATCH = {"seed": 64, "resnet20": 128}
RECIPE = "configs/cifar10_resnet20.py"


def lines(pairs: int) -> list[Line]:
    peers = turns.peers()
    seed = {name: (name, "seed") for name in ("ours", "flax", "untuned", *peers)}
    found = turns.rounds("benchmarks.cnns", seed, pairs)
    aims = {
        "flax": ("plain Flax, the same allocator settings", 3.0),
        "untuned": ("plain Flax, as it comes", 3.0),
        "keras": ("Keras", 1.0),
        "torch": ("PyTorch", 1.2),
    }
    table = [
        turns.over(peer, f"steps/s of the seed CNN over {what}", aim, found)
        for peer, (what, aim) in aims.items()
        if peer in seed
    ]
    if "torch" in peers:
        both = {name: (name, "resnet20") for name in ("ours", "torch")}
        found = turns.rounds("benchmarks.cnns", both, max(3, pairs // 2))
        table.append(turns.over("torch", "steps/s of ResNet-20 over PyTorch", 0.8, found))
    return table


def data(batch: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, 32, 32, 3)).astype(np.float32)
    return images, rng.integers(0, 10, batch).astype(np.int32)


def ours(network: str) -> turns.Step:
    from lepton_jax.training.runtime import tune_allocator

    tune_allocator()  # as `train` does
    if network == "resnet20":
        return _of_recipe()
    from flax import nnx

    from lepton_jax.models.cnn import CNN

    keys: Any = dict(features=(32, 64), hidden=64, padding="VALID")
    return turns.flax_step(CNN((32, 32, 3), 10, **keys, rngs=nnx.Rngs(0)), *data(BATCH["seed"]))


def _of_recipe() -> turns.Step:
    from benchmarks.images import GENERATED, steps_of
    from lepton_jax.config import config_file

    overrides = {**GENERATED, "data.augment": "", "batch_size": str(BATCH["resnet20"])}
    return steps_of(config_file.load_config(RECIPE, overrides)[0], 1)


def flax(network: str) -> turns.Step:
    from lepton_jax.training.runtime import tune_allocator

    tune_allocator()
    return untuned(network)


def untuned(network: str) -> turns.Step:
    import jax
    from flax import nnx

    class FlaxCNN(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.conv1 = nnx.Conv(3, 32, (3, 3), padding="VALID", rngs=rngs)
            self.conv2 = nnx.Conv(32, 64, (3, 3), padding="VALID", rngs=rngs)
            self.hidden = nnx.Linear(6 * 6 * 64, 64, rngs=rngs)
            self.head = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), (2, 2))
            x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), (2, 2))
            return self.head(nnx.relu(self.hidden(x.reshape(x.shape[0], -1))))

    return turns.flax_step(FlaxCNN(nnx.Rngs(0)), *data(BATCH[network]))


def keras(network: str) -> turns.Step:
    from tensorflow.keras import layers

    network_layers = [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        layers.Dense(10),
    ]
    return turns.keras_step(network_layers, *data(BATCH[network]))


def torch(network: str) -> turns.Step:
    from torch import nn, optim

    images, labels = data(BATCH[network])
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    if network == "resnet20":
        model = _torch_resnet20()
        sgd = optim.SGD(
            model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=True
        )  # fmt: skip
        return turns.torch_step(model, sgd, images, labels)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 6 * 6, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    return turns.torch_step(model, optim.Adam(model.parameters(), 1e-3), images, labels)


def _torch_resnet20() -> Any:
    """Of He et al. (2015), section 4.2, with shortcuts that pad (option A)."""
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, before: int, width: int):
            super().__init__()
            self.added = width - before
            self.conv1 = nn.Conv2d(before, width, 3, width // before, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)

        def forward(self, x: Any) -> Any:
            y = functional.relu(self.norm1(self.conv1(x)))
            y = self.norm2(self.conv2(y))
            if self.added:
                x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.added))
            return functional.relu(x + y)

    widths = [16, *[16] * 3, *[32] * 3, *[64] * 3]
    blocks = [Block(a, b) for a, b in pairwise(widths)]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


if __name__ == "__main__":
    _side, _network = sys.argv[1:]
    _sides = {"ours": ours, "flax": flax, "untuned": untuned, "keras": keras, "torch": torch}
    turns.answer(_sides[_side](_network), STEPS)
