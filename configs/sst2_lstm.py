"""A bidirectional LSTM on SST-2: the sentiment of phrases from film reviews.

After: the bidirectional LSTM of Tai et al. (2015), Improved semantic representations from
tree-structured long short-term memory networks (ACL), table 2: 87.5 % on the test set, starting
from GloVe's word vectors. Here all parameters are learnt from the 67,349 phrases of GLUE (Wang et
al. 2019), whose test labels are withheld: the test here is its validation set of 872 sentences, and
`valid` a twentieth of the phrases.
Expected: test accuracy 0.840 (sd 0.010 over seeds 0-2). Cost: 2 minutes on a shared H100.
Run: lepton train --config=sst2_lstm --workdir=runs/sst2_lstm
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(
                name="rnn_text",
                cell="lstm",
                layers=1,
                width=200,
                hidden=150,
                bidirectional=True,
                pooling="max",
                dropout=0.5,
            ),
            task=dict(name="text_classification"),
            data=dict(
                source=dict(
                    name="tfds", dataset="glue/sst2", splits=("train=train", "test=validation")
                ),
                tokenizer=dict(name="words", min_count=2),
                encode=dict(name="text", text="sentence", length=64, long="truncate"),
                buckets=(3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 64),
                valid_fraction=0.05,
            ),
            optimizer=dict(name="adamw", learning_rate=1e-3, weight_decay=0.01, clip_norm=1.0),
            batch_size=64,
            train_for="5 epochs",
            evaluate_every="0.5 epochs",
            checkpoint_every="0.5 epochs",
            best=dict(metric="valid/accuracy", mode="max"),
        )
    )
    if arg == "tiny":
        config.data.source = dict(name="generated_texts", examples=64)
        config.data.encode.text = "text"
        config.model.width = config.model.hidden = 16
        config.train_for, config.batch_size = "3 steps", 8
        config.evaluate_every = config.checkpoint_every = config.log_every = "1 steps"
    return config
