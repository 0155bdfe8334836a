"""A plain three-layer CNN on CIFAR-10: the recipe of many first tutorials.

After: the shape of the Keras 'convolutional neural network' tutorial, in the version of one
article: Conv 32 - pool - Conv 64 - pool - Dense 64 - Dense 10, Adam, batch 64, 10 epochs. The
article claims 0.8996 test accuracy; our runs of this recipe give about 0.70.
Expected: test accuracy 0.696 (0.695, 0.704 and 0.691 with seeds 0-2).
Cost: 5 minutes on 2 CPU cores.
Run: lepton train --config=cifar10_cnn --workdir=runs/cifar10_cnn
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="cnn", features=(32, 64), hidden=64, padding="VALID"),
            task=dict(name="image_classification"),
            data=dict(source=dict(name="tfds", dataset="cifar10"), prepare="scale()"),
            optimizer=dict(name="adam", learning_rate=1e-3),
            batch_size=64,
            train_for="10 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="1 epochs",
            log_every="100 steps",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.model.features = (8, 16)
        config.data.source = ConfigDict(dict(name="generated_images", size=(32, 32, 3)))
        config.train_for, config.batch_size = "3 steps", 8
    return config
