"""What images cost: augmentation inside the step, and decoding many sizes ahead of it.

`python -m benchmarks.images PAIRS` runs these alone.
"""

import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import lepton_jax
from benchmarks.loop import bare
from benchmarks.pairs import Line, ratios, spread
from lepton_jax.config import config_file
from lepton_jax.config.config import Config
from lepton_jax.data.loader import make_loader
from lepton_jax.training import build
from lepton_jax.training.feed import DeviceFeed, build_order
from lepton_jax.training.layout import build_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.runtime import runtime

ROOT = Path(__file__).parent.parent
SMALL = ROOT / "configs/cifar10_fast.py"
GENERATED = {
    "data.source.name": "generated_images",
    "data.source.size": "(32, 32, 3)",
    "data.source.examples": "2000",
}
"""In place of a recipe's small images."""
OTHERS = {
    "random_resized_crop": "random_resized_crop(0.3)|flip",
    "colours": "brightness(0.4)|contrast(0.4)|saturation(0.4)",
    "mixup": "mixup(0.2)",
    "cutmix": "cutmix(1.0)",
    "rand_augment": "rand_augment(2, 9.0)",
}
STEPS = 8
PHOTOS = 256


def lines(pairs: int) -> list[Line]:
    return [*augmentation(pairs), streaming()]


def augmentation(pairs: int) -> list[Line]:
    """Seconds of a step with augmentation over those without, of the recipe of small images."""
    config, _ = config_file.load_config(str(SMALL), GENERATED)
    own = str(config.data.augment)
    found = []
    for name, pipeline in {"its own": own, **OTHERS}.items():
        few = pairs if name == "its own" else max(3, pairs // 4)
        with runtime(config.precision):
            plain, augmented = (
                steps_of(
                    config_file.load_config(str(SMALL), {**GENERATED, "data.augment": text})[0],
                    STEPS,
                )
                for text in ("", pipeline)
            )
            plain(), augmented()
            values = ratios(plain, augmented, few)
        text = f"seconds of a step with augmentation over without, {SMALL.stem}, {name}"
        aim, met = "stated", True
        if name == "its own":
            aim, met = "<= 1.15", statistics.median(values) <= 1.15
        found.append(Line(text, spread(values), aim, met, f"`{pipeline}`, {few} pairs"))
    return found


def steps_of(config: Config, steps: int) -> Callable[[], float]:
    """Takes some steps of a run, with its data on the device; the seconds that it took."""
    data = load_data(config)
    placed = build_layout(build.build_program(config, data))
    feed = DeviceFeed(placed, data.splits["train"])
    zeros = placed.empty_sums()
    holder: dict[str, Any] = {"state": placed.fresh()["state"]}

    def run() -> float:
        began = time.perf_counter()
        holder["state"], _ = bare(feed, holder["state"], zeros, map(feed.inputs, range(steps)))
        return time.perf_counter() - began

    return run


def streaming() -> Line:
    """The share of `train` that waits for images of ImageNet's sizes, decoded in every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LEPTON_JAX_CACHE"] = f"{folder}/cache"
        _photographs(Path(folder) / "photos")
        overrides = {
            "data.source.name": "folder",
            "data.source.path": f"{folder}/photos",
            "model.blocks": "(1, 1, 1, 1)",
            "model.width": "32",
            "batch_size": "16",
            "train_for": "24 steps",
            "schedule.name": "constant",
            "log_every": "4 steps",
            "evaluate_every": "24 steps",
            "checkpoint_every": "24 steps",
            "strategy.name": "jit",
            "precision": "float32",
        }
        config, _ = config_file.load_config(str(ROOT / "configs/imagenet_resnet50.py"), overrides)
        lepton_jax.train(config, f"{folder}/w")
        rows = [json.loads(x) for x in (Path(folder) / "w/timings.jsonl").read_text().splitlines()]
        warm = [r for r in rows if "seconds/data" in r][1:]
        whole = sum(r["seconds"] - r.get("seconds/evaluate", 0.0) for r in warm)
        waiting = sum(r["seconds/data"] for r in warm) / whole
        taken = config.batch_size * statistics.median(r["steps_per_second"] for r in warm)
        given = {workers: _rate(config, workers) for workers in (0, 1)}
    limits = "" if waiting <= 0.05 else "; limited by decoding: more cores, or smaller files"
    detail = (
        f"the step takes {taken:.0f} images/s; decoding alone gives {given[0]:.0f} in threads, "
        f"{given[1]:.0f} in one worker process, of {os.cpu_count()} cores{limits}"
    )
    return Line(
        "share of training that waits for JPEGs of 500 x 375, ResNet at 224",
        f"{waiting:.3f}",
        "<= 0.05",
        waiting <= 0.05,
        detail,
    )


def _rate(config: Config, workers: int) -> float:
    """Images a second of the stream, with no step beside it."""
    data = load_data(config)
    train = data.splits["train"]
    order = build_order(config, train)
    batches = make_loader(train, order, 0, 24, workers=workers)
    next(batches)
    began = time.perf_counter()
    count = sum(len(batch["label"]) for batch in batches)
    batches.close()
    return count / (time.perf_counter() - began)


def _photographs(root: Path) -> None:
    """JPEGs with detail at every scale, about 500 x 375 and 100 kB, as ImageNet's are."""
    rng = np.random.default_rng(0)
    for split, count in (("train", PHOTOS), ("test", 16)):
        for i in range(count):
            width, height = (500, 375) if i % 3 else (375, 500)
            total = np.zeros((height, width, 3), np.float32)
            for size, weight in ((4, 80), (32, 40), (200, 25)):
                noise = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                part = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
                total += weight / 145 * np.asarray(part, np.float32)
            file = root / split / f"class{i % 8}" / f"{i:04d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            out = io.BytesIO()
            Image.fromarray(np.uint8(total)).save(out, "JPEG", quality=92)
            file.write_bytes(out.getvalue())


if __name__ == "__main__":
    for line in lines(int(sys.argv[1])):
        print(f"{line.name}: {line.value} (aim {line.aim}) {line.detail}")
