"""GoogLeNet on CIFAR-10: inception blocks from an 8 x 8 map on, auxiliary classifiers, BatchNorm.

After: Szegedy et al. (2014), Going deeper with convolutions: the blocks of its table 1, two
auxiliary classifiers whose losses count 0.3, dropout 0.4; with batch normalisation (Ioffe &
Szegedy 2015), and a first convolution of 3 x 3 with stride 1 in the place of 7 x 7 with stride 2.
The paper has no numbers for CIFAR, and the schedule is ours.
The training loss includes the auxiliary losses.
Expected: test accuracy 0.91 (0.9135 with seed 0); there is no published number.
Cost: 5 minutes on one H100 that ten other runs shared; hours on 2 CPU cores.
Run: lepton train --config=cifar10_googlenet --workdir=runs/cifar10_googlenet
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="googlenet", stem="cifar", normalize=True),
            task=dict(name="image_classification"),
            data=dict(
                source=dict(name="tfds", dataset="cifar10"),
                augment="pad_crop(4, mode='reflect')|flip",
                prepare="scale(mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))",
                valid_fraction=0.05,
            ),
            optimizer=dict(
                name="sgd", learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
            ),
            schedule=dict(name="one_cycle", peak_at=0.25),
            batch_size=128,
            train_for="20 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="1 epochs",
            log_every="50 steps",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.data.source = ConfigDict(
            dict(name="generated_images", size=(32, 32, 3), examples=64, test_examples=16)
        )
        config.data.valid_fraction = 0.2
        config.train_for, config.batch_size = "3 steps", 8
    return config
