"""Flow matching on MNIST: a small U-Net that carries noise to grey digits along straight paths.

After: Lipman et al. (2023), 'Flow Matching for Generative Modeling', with its optimal-transport
paths; the U-Net of Ho et al. (2020), much smaller and on patches of 2 x 2 pixels.
Expected: samples/frechet 19.9 (seed 0); mnist_vae has 66.7 in the features of the same
classifier, 5,000 samples each. 14 epochs and 10 steps of the sampler gave 34.8, widths of
(48, 96) 13.2. Cost: 4 minutes on a shared H100; not measured on 2 CPU cores.
Run: lepton train --config=mnist_flow --workdir=runs/mnist_flow
The config's argument may be the workdir or bundle of a classifier of MNIST. The run then measures
samples/frechet at its end: --config=mnist_flow:runs/mnist_lenet.
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] | str = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="unet", widths=(32, 64), blocks=1, patch=2),
            task=dict(name="image_generation_by_flow", sampler="heun", sampling_steps=20),
            data=dict(source=dict(name="tfds", dataset="mnist")),
            optimizer=dict(name="adam", learning_rate=1e-3, clip_norm=1.0),
            schedule=dict(name="cosine", warmup="200 steps"),
            batch_size=128,
            train_for="28 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="1 epochs",
            log_every="50 steps",
            ema=0.999,
            best=dict(metric="valid/loss", mode="min"),
        )
    )
    if arg == "tiny":
        config.model.widths = (8, 16)
        config.task.sampling_steps = 2
        config.data.source = ConfigDict(dict(name="generated_images"))
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
    elif arg:
        config.evals = ConfigDict(
            dict(samples=dict(metrics=dict(frechet=dict(name="frechet", classifier=arg))))
        )
    return config
