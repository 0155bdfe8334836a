"""ResNet-20 on CIFAR-10, as in the paper that introduced it.

After: He et al. (2015), Deep residual learning, section 4.2: SGD with momentum, batch 128, 64,000
steps, the rate divided by 10 at 32,000 and 48,000, weight decay 1e-4, crops from 4 padded pixels
and flips, 45,000 training images. Two differences: shortcuts that change shape are projections
(option B), and pixels are normalised by channel. The paper's test error is 8.75 %.
`cifar10_resnet20:short` is ten epochs over one cycle, for two CPU cores.
Expected: test accuracy 0.915 with seed 0 (an error of 8.48 %); 0.849 with `:short`.
Cost: 6 minutes on an H100 beside two other runs; `:short` takes a minute there; its aim is 40
minutes on 2 CPU cores.
Run: lepton train --config=cifar10_resnet20 --workdir=runs/cifar10_resnet20
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "short", "tiny", "synthetic"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="resnet", blocks=(3, 3, 3), width=16, stem="cifar"),
            task=dict(name="image_classification"),
            data=dict(
                source=dict(name="tfds", dataset="cifar10"),
                augment="pad_crop(4)|flip",
                prepare="scale(mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))",
            ),
            optimizer=dict(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
            schedule=dict(name="piecewise", at=("32_000 steps", "48_000 steps")),
            batch_size=128,
            train_for="64_000 steps",
            evaluate_every="4 epochs",
            checkpoint_every="4 epochs",
            log_every="100 steps",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "short":
        config.schedule = ConfigDict(dict(name="one_cycle"))
        config.train_for = "10 epochs"
        config.evaluate_every = config.checkpoint_every = "1 epochs"
    if arg in ("tiny", "synthetic"):
        config.data.source = ConfigDict(
            dict(name="generated_images", size=(32, 32, 3), examples=50_000, test_examples=10_000)
        )
    if arg == "tiny":
        config.model.blocks, config.model.width = (1, 1, 1), 8
        config.data.source.examples, config.data.source.test_examples = 64, 16
        config.train_for, config.batch_size = "3 steps", 8
        config.schedule.at = ("1 steps", "2 steps")
    return config
