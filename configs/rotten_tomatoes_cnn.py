"""Kim's convolutional network on the sentiment of sentences from film reviews.

After: Kim (2014), Convolutional neural networks for sentence classification (EMNLP), table 2,
CNN-rand on MR (Pang & Lee 2005): 76.1 %, mean of ten folds. Here the data have one split, 80/10/10.
Kim trained with Adadelta and held the norm of each class's weights at 3; here the optimizer is
Adam.
Expected: test accuracy 0.781 (sd 0.006 over seeds 0-2).
Cost: a few minutes on 2 CPU cores.
Run: lepton train --config=rotten_tomatoes_cnn --workdir=runs/rotten_tomatoes
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="kim_cnn", windows=(3, 4, 5), filters=100, width=300, dropout=0.5),
            task=dict(name="text_classification"),
            data=dict(
                source=dict(name="tfds", dataset="rotten_tomatoes"),
                tokenizer=dict(name="words", cleaning="kim"),
                encode=dict(name="text", length=64),
            ),
            optimizer=dict(name="adamw", learning_rate=1e-3, weight_decay=0.01),
            batch_size=50,
            train_for="6 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="1 epochs",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.data.source = dict(name="generated_texts", examples=64)
        config.model.filters, config.model.width = 8, 16
        config.train_for, config.batch_size = "3 steps", 8
        config.evaluate_every = config.checkpoint_every = config.log_every = "1 steps"
    return config
