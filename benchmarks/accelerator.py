"""ResNet-50 on one accelerator: images a second and MFU, beside PyTorch's compiled one.

    python -m benchmarks.accelerator ROUNDS        # writes docs/results/accelerator.json

Both train in bfloat16 on images that are on the device already. Ours is the recipe of
configs/imagenet_resnet50.py with its augmentation; the peer is torchvision's model under
`torch.compile`, channels last, with autocast and the same optimizer, on normalised images.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from benchmarks.images import steps_of
from lepton_jax.config import config_file
from lepton_jax.perf.chips import find_chip

ROOT = Path(__file__).parent.parent
BATCH, STEPS = 256, 20
FLOPS = 3 * 2 * 4.089e9
"""Of an image: 4.089 G multiplications forwards (He et al. 2015, table 1, v1.5), twice that
backwards."""


def ours() -> Callable[[], float]:
    overrides = {
        "data.source.examples": "2048",
        "data.source.test_examples": "256",
        "batch_size": str(BATCH),
        "schedule.name": "constant",
        "strategy.name": "jit",
        "train_for": "1000 steps",
    }
    path = str(ROOT / "configs/imagenet_resnet50.py") + ":synthetic"
    return steps_of(config_file.load_config(path, overrides)[0], STEPS)


def pytorch() -> Callable[[], float]:
    import torch
    import torchvision

    model = torchvision.models.resnet50().cuda().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    x = torch.randn(BATCH, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
    y = torch.randint(0, 1000, (BATCH,), device="cuda")

    @torch.compile
    def loss_of(x: Any, y: Any) -> Any:
        with torch.autocast("cuda", torch.bfloat16):
            return criterion(model(x), y)

    def run() -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss_of(x, y).backward()
            optimizer.step()
        torch.cuda.synchronize()
        return time.perf_counter() - began

    return run


def main(rounds: int) -> None:
    device = jax.devices()[0]
    chip = find_chip(device.device_kind)
    sides = {"lepton_jax": ours(), "PyTorch, compiled": pytorch()}
    for run in sides.values():
        run(), run()  # compilation, tuning
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides)[:: 1 if i % 2 else -1]:
            seconds[name].append(sides[name]() / STEPS)
    found: dict[str, Any] = {"device": device.device_kind, "jax": jax.__version__, "batch": BATCH}
    for name, values in seconds.items():
        rate = BATCH / statistics.median(values)
        mfu = rate * FLOPS / chip.bfloat16 if chip else None
        found[name] = {"images_per_second": round(rate), "mfu": mfu and round(mfu, 3)}
        print(f"ResNet-50, bfloat16, batch {BATCH}, {name}: {rate:,.0f} images/s, MFU {mfu}")
    ratios = [b / a for a, b in zip(*seconds.values(), strict=True)]
    found["ratio"] = round(statistics.median(ratios), 3)
    print(f"over PyTorch: {found['ratio']}")
    file = ROOT / "docs/results/accelerator.json"
    file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
