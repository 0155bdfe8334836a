"""ViT-B/16 fine-tuned on CIFAR-10, from pretrained weights.

After: Dosovitskiy et al. (2021), An image is worth 16x16 words, section B.1.1: SGD with momentum
0.9, batch 512, cosine without weight decay, gradients clipped at 1, a new last layer that is
initialized with zeros. Here it is 2,000 steps at 224 pixels, in the paper 10,000 at 384. Table 5
has 98.95 % of CIFAR-10's test images for ViT-B/16 of ImageNet-21k.
Expected: not measured here yet. Cost: not measured; 2,000 steps are 1.1e17 FLOPs, validation and
test images take 2 GB of the cache.
Run: lepton train --config=cifar10_vit_finetune --workdir=runs/vit \\
    --config.init_from=vit-base-patch16-224-in21k
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="vit", mlp="gelu_exact", epsilon=1e-12),
            task=dict(name="image_classification"),
            data=dict(
                source=dict(name="tfds", dataset="cifar10"),
                decode="resize(224)",
                train_decode="resize(224)",
                augment="flip",
                prepare="scale(mean=127.5, std=127.5)",
                valid_fraction=0.02,
            ),
            optimizer=dict(name="sgd", learning_rate=0.01, momentum=0.9, clip_norm=1.0),
            schedule=dict(name="cosine", warmup="200 steps"),
            batch_size=512,
            train_for="2_000 steps",
            precision="bfloat16",
            strategy=dict(name="mesh"),
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.model.update(layers=2, width=16, heads=2, patch=4)
        config.data.source = dict(name="generated_images", size=(8, 8, 3), classes=10, examples=64)
        config.data.decode = config.data.train_decode = ""
        config.data.valid_fraction = 0.2
        config.train_for, config.batch_size, config.strategy.name = "3 steps", 8, "jit"
        config.schedule.warmup, config.precision = "1 steps", "float32"
    return config
