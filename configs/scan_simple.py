"""SCAN: translates commands such as 'jump twice after walk left' to sequences of actions.

After: Lake & Baroni (2018), Generalization without systematicity (ICML), experiment 1: four fifths
of all 20,910 commands are for training. Their best network is an LSTM of 2 layers of 200 with
dropout 0.5 and no attention; all actions are right for 99.8 % of its test commands. Here it has
attention (Luong et al. 2015), a batch of 64 instead of 1, and greedy decoding.
Expected: test sequence accuracy 0.985 (seed 0). Cost: 7 minutes on a shared H100, most of them
compilation.
Run: lepton train --config=scan_simple --workdir=runs/scan_simple
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
                source=dict(name="tfds", dataset="scan/simple"),
                tokenizer=dict(name="words", marks="begin_end"),
                encode=dict(
                    name="translation",
                    source="commands",
                    target="actions",
                    source_length=11,
                    target_length=49,
                ),
                buckets=(8, 12, 16, 20, 24, 28, 32, 40, 49),
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
