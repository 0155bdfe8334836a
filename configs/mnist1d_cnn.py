"""A CNN over time on MNIST-1D: ten noisy digits as signals of 40 steps.

After: Greydanus & Kobak (2024), Scaling down deep learning with MNIST-1D (ICML): the authors'
three convolutions of 25 channels and a linear layer, 5,210 parameters.
Adam at 1e-2, batch 100, 6,000 steps. The paper's test accuracy is 94 %, and 56 % with positions
shuffled (`--config.data.source.shuffled=True`); the notebook of the authors' repository ends at
92.3 % and 58.7 %. The authors train on all 4,000 training examples; here a tenth of them
selects the best step.
Expected: test accuracy 92.8 ± 0.8 % on seeds 0-4 (mean ± standard deviation); 57.5 ± 1.8 %
shuffled.
Cost: 22 seconds on 2 CPU cores, most of them for the start.
Run: lepton train --config=mnist1d_cnn --workdir=runs/mnist1d_cnn
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="conv1d", features=(25, 25, 25), kernels=(5, 3, 3)),
            task=dict(name="signal_classification"),
            data=dict(source=dict(name="mnist1d", shuffled=False)),
            optimizer=dict(name="adam", learning_rate=1e-2),
            batch_size=100,
            train_for="6_000 steps",
            evaluate_every="250 steps",
            checkpoint_every="2_000 steps",
            log_every="250 steps",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.model.features = (8, 8, 8)
        config.data.source.examples = 200
        config.train_for, config.batch_size = "3 steps", 8
        config.evaluate_every = config.checkpoint_every = config.log_every = "1 steps"
    return config
