"""A small decoder that learns a Markov chain whose entropy is known, in a minute.

After: the pre-norm decoder of GPT-2 (Radford et al. 2019), with 4 layers, on a chain in which each
of 64 tokens is followed by one of four, with probabilities 1/2, 1/4, 1/8 and 1/8. It has dropout,
sequences of unequal lengths and layers that can be sharded over devices. Placement must not change
its numbers.
Expected: test loss within 0.03 of 1.213 nats (1.75 bits) a token, the chain's entropy, a lower
bound for every model. Cost: about a minute on 2 CPU cores.
Run: lepton train --config=markov_decoder --workdir=runs/markov_decoder
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="transformer", layers=4, width=64, heads=4, dropout=0.1),
            task=dict(name="language_modelling"),
            data=dict(
                source=dict(name="generated_tokens", vocabulary=64, length=32, shortest=16),
            ),
            optimizer=dict(name="adamw", learning_rate=3e-3, weight_decay=0.01, clip_norm=1.0),
            schedule=dict(name="cosine", warmup="20 steps"),
            batch_size=64,
            train_for="400 steps",
            evaluate_every="100 steps",
            checkpoint_every="200 steps",
        )
    )
    if arg == "tiny":
        config.model.layers, config.model.width = 2, 32
        config.data.source.examples = 64
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
    return config
