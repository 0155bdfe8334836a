"""The smallest ResNet, of eight layers, on Fashion-MNIST.

After: Xiao, Rasul & Vollgraf (2017), Fashion-MNIST, whose best classical classifier reaches 0.897,
and the CIFAR networks of He et al. (2015), section 4.2, with n = 1 and twice the width: three
stages of one block, 32, 64 and 128 channels. SGD with Nesterov momentum over one cycle, shifts of
up to two pixels and flips.
Expected: test accuracy 0.927 (sd 0.002 over seeds 0-2); at the width of He et al. 0.916 and 0.917.
Cost: a minute on one H100; not measured on 2 CPU cores.
Run: lepton train --config=fashion_mnist_resnet --workdir=runs/fashion_mnist
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="resnet", blocks=(1, 1, 1), width=32, stem="cifar"),
            task=dict(name="image_classification"),
            data=dict(
                source=dict(name="tfds", dataset="fashion_mnist"),
                augment="pad_crop(2)|flip",
                prepare="scale(mean=72.9, std=90.0)",
            ),
            optimizer=dict(
                name="sgd", learning_rate=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4
            ),
            schedule=dict(name="one_cycle", peak_at=0.25),
            batch_size=128,
            train_for="8 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="2 epochs",
            log_every="100 steps",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.model.width = 8
        config.data.source = ConfigDict(dict(name="generated_images", size=(28, 28, 1)))
        config.train_for, config.batch_size = "3 steps", 8
    return config
