"""Which optimizer trains a small network best, each at a learning rate chosen on `valid`?

    optimizers:digits     a CNN on the UCI optical digits
    optimizers:mnist1d    an MLP on MNIST-1D

After: Choi et al. (2019), On empirical comparisons of optimizers for deep learning: rankings depend
on the tuning. Here each optimizer gets five learning rates around its usual one, with 3 seeds each,
and nothing else is tuned.
"""

from typing import Literal

from lepton_jax.ablation import Experiment, Variant, tune_variants

USUAL = {
    # name: (optax's optimizer, its own keys, its usual learning rate)
    "SGD": ("sgd", {}, 0.1),
    "momentum": ("sgd", {"optimizer.momentum": 0.9, "optimizer.nesterov": True}, 0.03),
    "RMSProp": ("rmsprop", {}, 1e-3),
    "Adam": ("adam", {}, 2e-3),
    "AdamW": ("adamw", {"optimizer.weight_decay": 1e-2}, 2e-3),
    "Lion": ("lion", {}, 3e-4),
    "Muon": ("muon", {}, 2e-2),
}
FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
CONFIGS = {
    "digits": ("digits_cnn", {"train_for": "10 epochs", "ema": 0.0}),
    "mnist1d": ("mnist1d_mlp", {"train_for": "3_000 steps"}),
}


def get_experiment(arg: Literal["digits", "mnist1d"] = "digits") -> Experiment:
    config, changes = CONFIGS[arg]
    variants = [
        variant
        for name, (optimizer, keys, rate) in USUAL.items()
        for variant in tune_variants(
            [Variant(name, {"optimizer.name": optimizer, **keys})],
            {"optimizer.learning_rate": [rate * factor for factor in FACTORS]},
        )
    ]
    return Experiment(
        question=f"Which optimizer trains {arg} best, at a learning rate chosen on valid?",
        config=config,
        variants=variants,
        seeds=range(3),
        metric="accuracy",
        baseline="Adam",
        changes=changes,
    )
