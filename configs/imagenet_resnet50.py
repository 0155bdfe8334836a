"""ResNet-50 on ImageNet at batch 1,024.

After: Goyal et al. (2017), Accurate, large minibatch SGD: Nesterov momentum 0.9, rate 0.1 for each
256 images, 5 epochs of warm-up, divided by 10 at epochs 30, 60 and 80 of 90, weight decay 1e-4 but
not on BatchNorm, residual branches that start at zero, random-resized crops of 224; with label
smoothing 0.1 (Szegedy et al. 2016). Images are decoded again in every epoch, in threads or worker
processes ahead of the step. Validation uses the central 224 pixels, with the shorter side at 256.
The paper's validation accuracy is 76.4 %; its colour augmentation is left out here.
Expected: not measured here yet. Cost: not measured; validation images take 8 GB of the cache.
According to `plan` a device of v5e:4x8 needs 1.6 GiB of its 15.8, one of 8 H100 5.1 GiB of 59.3.
`:synthetic` is the whole recipe at full size on generated images, with nothing to download.
Run: lepton train --config=imagenet_resnet50 --workdir=runs/imagenet_resnet50
Topology: v5e:4x8
Topology: h100:8
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny", "synthetic"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="resnet", blocks=(3, 4, 6, 3), bottleneck=True, zero_residual=True),
            task=dict(name="image_classification", label_smoothing=0.1),
            data=dict(
                source=dict(name="tfds", dataset="imagenet2012"),
                decode="rgb|resize_shorter(256)|center_crop(224)",
                train_decode="rgb|random_resized_crop(224)",
                augment="flip",
                prepare="scale(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))",
            ),
            optimizer=dict(
                name="sgd",
                learning_rate=0.4,
                momentum=0.9,
                nesterov=True,
                weight_decay=1e-4,
                groups=dict(norm=dict(pattern=r"\.norm\.", weight_decay=0.0)),
            ),
            schedule=dict(
                name="piecewise", warmup="5 epochs", at=("30 epochs", "60 epochs", "80 epochs")
            ),
            batch_size=1024,
            train_for="90 epochs",
            precision="bfloat16",
            strategy=dict(name="mesh"),
            metrics=dict(top_k=dict(k=5)),
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg in ("tiny", "synthetic"):
        config.data.decode = config.data.train_decode = ""
        config.data.source = ConfigDict(
            dict(
                name="generated_images",
                size=(224, 224, 3),
                classes=1000,
                examples=1_281_167,
                test_examples=50_000,
            )
        )
        config.data.valid_fraction = 0.01
    if arg == "tiny":
        config.model.blocks, config.model.width = (1, 1), 8
        config.data.source = ConfigDict(
            dict(name="generated_images", size=(32, 32, 3), classes=16, examples=64)
        )
        config.data.valid_fraction = 0.2
        config.train_for, config.batch_size, config.strategy.name = "3 steps", 8, "jit"
        config.schedule.warmup, config.schedule.at = "1 steps", ("1 steps", "2 steps")
    return config
