"""SCAN's split by length: training on commands of up to 22 actions, test on 24 to 48 actions.

After: Lake & Baroni (2018), Generalization without systematicity (ICML), experiment 2: the network
that was best over all experiments answers 13.8 % of the longer commands correctly, the best one on
this split 20.8 %. The recipe is that of scan_simple, except for the data. The validation commands
are as short as the training commands.
Expected: test sequence accuracy 0.146 (seed 0). Cost: 6 minutes on a shared H100.
Run: lepton train --config=scan_length --workdir=runs/scan_length
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(
                name="rnn_seq2seq",
                cell="lstm",
                layers=2,
                width=200,
                hidden=200,
                bidirectional=True,
                dropout=0.5,
            ),
            task=dict(name="translation", beam=1),
            data=dict(
                source=dict(name="tfds", dataset="scan/length"),
                tokenizer=dict(name="words", marks="begin_end"),
                encode=dict(
                    name="translation",
                    source="commands",
                    target="actions",
                    source_length=11,
                    target_length=49,
                ),
                buckets=(8, 12, 16, 20, 23),
            ),
            optimizer=dict(name="adam", learning_rate=1e-3, clip_norm=5.0),
            schedule=dict(name="cosine", warmup="100 steps"),
            batch_size=64,
            train_for="30 epochs",
            evaluate_every="3 epochs",
            checkpoint_every="3 epochs",
            best=dict(metric="valid/sequence_accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.data.source = dict(name="generated_texts", examples=64, longest=4)
        config.data.encode.update(source="text", target="translation")
        config.model.width = config.model.hidden = 16
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
        config.evaluate_every = config.checkpoint_every = "3 steps"
    return config
