"""A variational autoencoder on binarized MNIST: every pixel above 127 is white.

After: Kingma & Welling (2014), 'Auto-Encoding Variational Bayes', with wider MLPs, ReLU and Adam.
Published bounds for other binarizations (at random, or by Larochelle) are not comparable.
Expected: test/elbo -80.3 nats an image (sd 0.3 over seeds 0-2); samples/frechet 67 (sd 3).
Cost: under 10 minutes on 2 CPU cores.
Run: lepton train --config=mnist_vae --workdir=runs/mnist_vae
The config's argument may be the workdir or bundle of a classifier of MNIST. The run then measures
samples/frechet at its end, the Frechet distance between 5,000 samples and the test split in the
classifier's features: --config=mnist_vae:runs/mnist_lenet.
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] | str = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="vae", hidden=(512, 256), latent=20),
            task=dict(name="image_generation_by_vae", threshold=127),
            data=dict(source=dict(name="tfds", dataset="mnist")),
            optimizer=dict(name="adam", learning_rate=1e-3),
            schedule=dict(name="cosine", warmup="1 epochs"),
            batch_size=128,
            train_for="30 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="5 epochs",
            log_every="100 steps",
            best=dict(metric="valid/loss", mode="min"),
        )
    )
    if arg == "tiny":
        config.model.hidden, config.model.latent = (32, 16), 4
        config.data.source = ConfigDict(dict(name="generated_images"))
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
    elif arg:
        config.evals = ConfigDict(
            dict(samples=dict(metrics=dict(frechet=dict(name="frechet", classifier=arg))))
        )
    return config
