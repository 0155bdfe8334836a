"""A small BERT, pretrained on film reviews by masked language modelling.

After: Devlin et al. (2019), with 4 layers, width 256 and 4 heads (the size of 'mini' of Turc et al.
2019), on nothing but the sentences and phrases of SST-2 (Socher et al. 2013): 67,349 texts are few
for pretraining. A vocabulary of 8,192 word pieces; AdamW at 5e-4, weight decay 0.01 but for norms
and biases, a tenth of the steps warm-up. `sst2_bert_small` may start from its weights.
Expected: a loss of 4.43 nats a masked token on SST-2's validation sentences with seed 0;
34 % of the masked tokens are predicted correctly.
Cost: 7 minutes on an H100 beside two to three other runs, 3 of them compilation.
Run: lepton train --config=sst2_bert_mlm --workdir=runs/sst2_bert_mlm
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="bert_mlm", layers=4, width=256, heads=4, dropout=0.1),
            task=dict(name="masked_language_modelling"),
            data=dict(
                source=dict(
                    name="tfds", dataset="glue/sst2", splits=("train=train", "test=validation")
                ),
                tokenizer=dict(name="wordpiece", size=8_192),
                encode=dict(name="text", text="sentence", length=64, long="truncate"),
                buckets=(5, 7, 9, 11, 14, 17, 21, 25, 30, 36, 45, 64),
                valid_fraction=0.05,
            ),
            optimizer=dict(
                name="adamw",
                learning_rate=5e-4,
                weight_decay=0.01,
                clip_norm=1.0,
                groups=dict(plain=dict(pattern=r"norm|bias", weight_decay=0.0)),
            ),
            schedule=dict(name="linear", warmup="800 steps"),
            batch_size=128,
            train_for="8_000 steps",
            evaluate_every="1_000 steps",
            checkpoint_every="1_000 steps",
            best=dict(metric="valid/loss", mode="min"),
        )
    )
    if arg == "tiny":
        config.model.update(layers=2, width=32)
        config.data.source = dict(name="generated_texts", examples=64, longest=6)
        config.data.tokenizer.size = 64
        config.data.encode.update(text="text", length=16)
        config.data.buckets = (8, 16)
        config.data.valid_fraction = 0.2
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
        config.evaluate_every = config.checkpoint_every = "3 steps"
    return config
