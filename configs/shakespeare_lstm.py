"""An LSTM that writes Shakespeare, character by character, with the compute of a GPT.

After: Karpathy (2015), The unreasonable effectiveness of recurrent neural networks (char-rnn), on
its tiny Shakespeare, validated on the last tenth, as shakespeare_gpt is; with about the
size and the training of nanoGPT's character model (10.7 million parameters, 5,000 steps of 16,384
characters): 2 layers of 768, 9.5 million parameters, 5,000 steps of as many characters. The state
is carried from batch to batch, so the model reads the whole text, although gradients reach back
only 128 characters. In evaluations the state is empty at every 128th character, which makes the
loss of the next few characters worse.
Expected: valid loss 1.514 nats a character, after 1,000 steps; the GPT's is 1.494 here.
Cost: 3 minutes on one H100.
Run: lepton train --config=shakespeare_lstm --workdir=runs/shakespeare_lstm
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="rnn_lm", cell="lstm", layers=2, width=768, dropout=0.5),
            task=dict(name="language_modelling", carry=True),
            data=dict(
                source=dict(
                    name="tfds",
                    dataset="tiny_shakespeare",
                    splits=("train=train", "valid=validation+test", "test=test"),
                ),
                tokenizer=dict(name="characters"),
                encode=dict(name="stream", length=128),
                order="contiguous",
            ),
            optimizer=dict(name="adam", learning_rate=2e-3, clip_norm=1.0),
            schedule=dict(name="cosine", warmup="100 steps"),
            batch_size=128,
            train_for="5_000 steps",
            evaluate_every="250 steps",
            checkpoint_every="250 steps",
        )
    )
    if arg == "tiny":
        config.data = ConfigDict(
            dict(source=dict(name="generated_tokens", examples=64), order="contiguous")
        )
        config.model.width = 16
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
        config.evaluate_every = config.checkpoint_every = "3 steps"
    return config
