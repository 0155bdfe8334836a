"""A small Transformer that translates image captions from German to English.

After: Vaswani et al. (2017), with the norms before the layers, in a size for the 29,000 pairs of
Multi30k (Elliott et al. 2016): 3 + 3 layers, width 256, 8 heads, dropout 0.3, a joint BPE of 8,000
tokens, label smoothing 0.1, beam search of 4. Wu et al. (2021) report 41.0 BLEU (tokenised) on the
test set of 2016 for English to German with a smaller model. The aim here is at least 30 in
sacreBLEU.
Expected: sacreBLEU 38.3 with seed 0, test_2016_flickr; 37.9 with a beam of 1. 11 % of the training
tokens are padding.
Cost: 1.6 seconds a step on 2 CPU cores, 2,719 steps; 128 minutes in all beside other work, 15 of
them for beam searches.
Run: lepton train --config=multi30k_transformer --workdir=runs/multi30k
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(
                name="encoder_decoder",
                layers=3,
                width=256,
                heads=8,
                mlp_width=1024,
                dropout=0.3,
            ),
            task=dict(name="translation", label_smoothing=0.1, beam=4),
            data=dict(
                source=dict(name="tfds", dataset="multi30k/de-en"),
                tokenizer=dict(name="bpe", size=8_000, marks="begin_end"),
                encode=dict(
                    name="translation",
                    source="de",
                    target="en",
                    source_length=64,
                    target_length=64,
                    long="truncate",
                ),
                buckets=(11, 13, 15, 17, 19, 21, 23, 25, 28, 32, 39, 64),
            ),
            optimizer=dict(name="adam", learning_rate=1e-3, b2=0.98, clip_norm=1.0),
            schedule=dict(name="linear", warmup="500 steps"),
            batch_size=128,
            train_for="12 epochs",
            evaluate_every="3 epochs",
            checkpoint_every="3 epochs",
            best=dict(metric="valid/bleu", mode="max"),
        )
    )
    if arg == "tiny":
        config.model.update(layers=2, width=32, heads=4, mlp_width=64)
        config.data.source = dict(name="generated_texts", examples=64, longest=4)
        config.data.tokenizer.size = 300
        config.data.encode.update(source="text", target="translation")
        config.data.encode.update(source_length=16, target_length=12)
        config.task.beam = 2
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
        config.evaluate_every = config.checkpoint_every = "3 steps"
    return config
