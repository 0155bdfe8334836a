"""LeNet-5 on MNIST.

After: LeCun et al. (1998), Gradient-based learning applied to document recognition, whose LeNet-5
errs on 0.95 % of the test set, and on 0.8 % when trained on distorted digits too; the network with
today's ReLU and max pooling (`models/lenet.py`), digits shifted by up to two pixels, and Adam with
a cosine in the place of the paper's diagonal Levenberg-Marquardt.
Expected: test accuracy 0.993 (0.9933, 0.9935 and 0.9924 with seeds 0-2).
Cost: 15 seconds on one H100; minutes on 2 CPU cores.
Run: lepton train --config=mnist_lenet --workdir=runs/mnist_lenet
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="lenet"),
            task=dict(name="image_classification"),
            data=dict(
                source=dict(name="tfds", dataset="mnist"), augment="pad_crop(2)", prepare="scale()"
            ),
            optimizer=dict(name="adam", learning_rate=2e-3),
            schedule=dict(name="cosine", warmup="200 steps"),
            batch_size=128,
            train_for="12 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="2 epochs",
            log_every="100 steps",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.data.source = ConfigDict(dict(name="generated_images", size=(28, 28, 1)))
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
    return config
