"""Kim's convolutional network on TREC: six classes of questions.

After: Kim (2014), Convolutional neural networks for sentence classification (EMNLP), table 2,
CNN-rand: filters of 3, 4 and 5 words, 100 of each, random initial word vectors of width 300,
dropout of one half; 91.2 % on the 500 test questions (Li & Roth 2002), in one run. Kim trained with
Adadelta and held the norm of each class's weights at 3; here the optimizer is Adam.
Expected: test accuracy 0.908 (0.912, 0.898 and 0.914 with seeds 0-2).
Cost: a few minutes on 2 CPU cores.
Run: lepton train --config=trec_cnn --workdir=runs/trec_cnn
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="kim_cnn", windows=(3, 4, 5), filters=100, width=300, dropout=0.5),
            task=dict(name="text_classification"),
            data=dict(
                source=dict(name="tfds", dataset="trec", label="label-coarse"),
                tokenizer=dict(name="words", cleaning="kim"),
                encode=dict(name="text", length=40),
            ),
            optimizer=dict(name="adamw", learning_rate=1e-3, weight_decay=0.01),
            batch_size=50,
            train_for="10 epochs",
            evaluate_every="1 epochs",
            checkpoint_every="1 epochs",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.data.source = dict(name="generated_texts", examples=64, classes=6)
        config.model.filters, config.model.width = 8, 16
        config.train_for, config.batch_size = "3 steps", 8
        config.evaluate_every = config.checkpoint_every = config.log_every = "1 steps"
    return config
