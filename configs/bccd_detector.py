"""Detection and classification of blood cells: FCOS from scratch on 205 images of BCCD.

After: Tian et al. (2019), FCOS, on one level, trained at 240 x 320 from random weights. The images,
boxes and splits are those of BCCD (Shenggan, 2017). Two of 4,888 boxes have no area;
`drop_empty_boxes` removes them.
Expected: test mAP at IoU 0.5 of 0.906 (seed 0). Cost: 4 minutes on a shared H100; about 40 minutes
on 2 CPU cores.
Run: lepton train --config=bccd_detector --workdir=runs/bccd_detector
"""

from typing import Literal

from ml_collections import ConfigDict


def get_config(arg: Literal["", "tiny"] = "") -> ConfigDict:
    config = ConfigDict(
        dict(
            model=dict(name="fcos", blocks=(1, 2, 2, 2), width=16, features=64, tower=2),
            task=dict(name="object_detection"),
            data=dict(
                source=dict(name="tfds", dataset="bccd"),
                decode="pad_boxes(32)|drop_empty_boxes|resize(240, 320)",
                augment="flip|flip(vertical=True)|zoom(0.8, 1.5)",
                prepare="scale(mean=128.0, std=64.0)",
            ),
            optimizer=dict(name="adamw", learning_rate=2e-3, weight_decay=5e-2, clip_norm=5.0),
            schedule=dict(name="cosine", warmup="3 epochs"),
            batch_size=8,
            train_for="60 epochs",
            ema=0.98,
            evaluate_every="5 epochs",
            checkpoint_every="5 epochs",
            log_every="25 steps",
            best=dict(metric="valid/map_50", mode="max"),
        )
    )
    if arg == "tiny":
        config.model.blocks, config.model.width, config.model.features = (1, 1), 8, 16
        config.model.tower = 1
        config.data.source = ConfigDict(dict(name="generated_objects", examples=32))
        config.data.decode = ""
        config.train_for, config.batch_size, config.schedule.warmup = "3 steps", 8, "1 steps"
    return config
