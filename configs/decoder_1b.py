"""A decoder of a billion parameters, of Llama 3's kind, on sequences of 2,048 tokens.

After: Llama 3 (Grattafiori et al. 2024), in the shape of its 1B model: 16 layers, width 2,048, 32
heads that share 8 keys and values, SwiGLU of 8,192, RMS norm, rotary positions; with a vocabulary
of 32,768. AdamW with beta2 0.95, weight decay 0.1, gradients clipped at 1, cosine with warm-up.
It learns a Markov chain from generated tokens, also as `:synthetic`: the recipe serves to plan, to
place and to time a run of this size. According to `plan` a device of v5e:4x8 needs 3.5 GiB of its
15.8 when sharded by fsdp, 10.6 by data x tensor.
Expected: not measured here yet; no model can be below 1.213 nats a token on this data. Cost: not
measured; 10.5e9 tokens at 6 FLOPs a parameter and token are 6.5e19 FLOPs.
Run: lepton train --config=decoder_1b --workdir=runs/decoder_1b
Topology: v5e:4x8
Topology: v5e:4x8 --config.strategy.data=8 --config.strategy.fsdp=1 --config.strategy.tensor=4
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(
                name="transformer",
                layers=16,
                width=2048,
                heads=32,
                kv_heads=8,
                mlp="swiglu",
                mlp_width=8192,
                norm="rms",
                positions="rope",
                rope_base=500_000.0,
                bias=False,
                scan=True,
                remat="full",
            ),
            task=dict(name="language_modelling"),
            data=dict(
                source=dict(
                    name="generated_tokens",
                    vocabulary=32_768,
                    length=2048,
                    examples=5_200_000,
                    test_examples=4096,
                ),
                valid_fraction=0.001,
            ),
            optimizer=dict(
                name="adamw", learning_rate=3e-4, b2=0.95, weight_decay=0.1, clip_norm=1.0
            ),
            schedule=dict(name="cosine", warmup="1_000 steps", end=0.1),
            batch_size=256,
            accumulate=4,
            train_for="20_000 steps",
            evaluate_every="1_000 steps",
            checkpoint_every="1_000 steps",
            log_every="10 steps",
            precision="bfloat16",
            strategy=dict(name="mesh", data=1, fsdp=32),
        )
    )
    if arg == "tiny":
        config.model.update(layers=2, width=32, heads=4, kv_heads=2, mlp_width=64)
        config.data.source.update(vocabulary=64, length=16, examples=64, test_examples=16)
        config.data.valid_fraction = 0.2
        config.strategy = ConfigDict(dict(name="jit"))
        config.train_for, config.batch_size, config.accumulate = "3 steps", 8, 2
        config.schedule.warmup = "1 steps"
    return config
