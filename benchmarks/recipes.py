"""What the recipes in configs/ reach, a run at a time, in as many sittings as it takes.

    TFDS_DATA_DIR=DIR python -m benchmarks.recipes            # what is missing
    TFDS_DATA_DIR=DIR python -m benchmarks.recipes mnist_lenet cifar10_fast

Each row of docs/results/recipes.json is one `train` command and is not made again, unless its
config or the list below has changed; docs/recipes.md is the table. A run that was interrupted goes
on in runs/recipes/.
"""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax import config_file
from lepton_jax.tracking.record import Record

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "docs/results/recipes.json"
PAGE = ROOT / "docs/recipes.md"
RUNS = ROOT / "runs/recipes"


@dataclass(frozen=True)
class Recipe:
    """A config, the number of `results.json` that it is judged by, and what it is to reach."""

    config: str
    metric: str
    reaches: str
    """`>= 0.99`, `<= 105`, or `measured`."""
    published: str
    """The figure it stands beside, with its source."""
    seeds: tuple[int, ...] = (0, 1, 2)
    argument: str = ""
    """Where the config itself is meant for an accelerator."""

    def met(self, value: float) -> bool:
        sign, _, bound = self.reaches.partition(" ")
        return {">=": value >= float(bound or 0), "<=": value <= float(bound or 0)}.get(sign, True)


RECIPES = (
    Recipe("mnist_lenet", "accuracy", ">= 0.990", "0.9905, LeCun et al. 1998"),
    Recipe("fashion_mnist_resnet", "accuracy", ">= 0.92", "0.897, Xiao et al. 2017 (classical)"),
    Recipe("cifar10_cnn", "accuracy", "measured", "0.8996, the article that the recipe is from"),
    Recipe("cifar10_fast", "accuracy", ">= 0.8996", "0.941 at twice the width, Page 2019"),
    Recipe(
        "cifar10_resnet20", "accuracy", ">= 0.80", "0.9125 in 182 epochs, He et al. 2015", (0,),
        argument="short",
    ),
    Recipe("cifar10_googlenet", "accuracy", ">= 0.75", "none for CIFAR-10", (0,)),
)  # fmt: skip

HEAD = """# What the recipes reach

Made by `python -m benchmarks.recipes`: a `train` command a seed; `test` is read once, at the
checkpoint that `valid` chose. Minutes and examples a second are those of the machine named in each
row of docs/results/recipes.json.
"""


def main(names: list[str]) -> None:
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
    for recipe in RECIPES:
        for seed in recipe.seeds:
            key = _key(recipe, seed)
            done = any(key.items() <= row.items() for row in rows)
            if done or (names and recipe.config not in names):
                continue
            rows = [r for r in rows if (r["config"], r["seed"]) != (recipe.config, seed)]
            rows.append(key | _run(recipe, seed, key["fingerprint"]))
            ROWS.parent.mkdir(parents=True, exist_ok=True)
            ROWS.write_text(json.dumps(rows, indent=2) + "\n")
            _write(rows)


def _path(recipe: Recipe) -> str:
    return f"configs/{recipe.config}.py" + (f":{recipe.argument}" if recipe.argument else "")


def _key(recipe: Recipe, seed: int) -> dict[str, Any]:
    config, _ = config_file.load(_path(recipe), {"seed": str(seed)})
    return {"config": recipe.config, "seed": seed, "fingerprint": config.fingerprint()}


def _run(recipe: Recipe, seed: int, fingerprint: str) -> dict[str, Any]:
    workdir = RUNS / f"{recipe.config}-{seed}-{fingerprint}"
    flags = [f"--config={_path(recipe)}", f"--config.seed={seed}"]
    command = [sys.executable, "launch.py", "train", *flags]
    print(" ".join(command[1:]), flush=True)
    began = time.monotonic()
    done = subprocess.run([*command, f"--workdir={workdir}"], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)
    record = Record.open(str(workdir), writes=False)
    timings, facts = record.timings(), record.provenance()
    seconds = sum(t["seconds"] for t in timings if "seconds" in t)
    batch = json.loads(Path(record.path("config.json")).read_text())["batch_size"]
    speeds = [t["steps_per_second"] * batch for t in timings if "steps_per_second" in t]
    value = record.results()["test"][recipe.metric]
    print(f"{recipe.config}, seed {seed}: test/{recipe.metric} {value:.4f}", flush=True)
    return {
        "metric": f"test/{recipe.metric}",
        "value": value,
        "met": recipe.met(value),
        "minutes": round(seconds / 60, 2),
        "wall_minutes": round((time.monotonic() - began) / 60, 2),
        "examples_per_second": round(statistics.median(speeds), 1),
        "commit": (facts.get("code") or {}).get("commit"),
        "platform": facts["platform"],
        "cpus": facts["visible_cpus"],
    }


def _write(rows: list[dict[str, Any]]) -> None:
    head = "| config | metric | mean ± sd | seeds | reaches | met | published | minutes | ex/s |"
    table = [head, "|" + "---|" * 9]
    for recipe in RECIPES:
        found = [r for r in rows if r["config"] == recipe.config]
        if not found:
            continue
        values = [r["value"] for r in found]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        met = sum(r["met"] for r in found)
        speed = statistics.median(r["examples_per_second"] for r in found)
        cells = (
            recipe.config, found[0]["metric"], f"{statistics.mean(values):.4f}{spread}",
            len(found), recipe.reaches, f"{met} of {len(found)}", recipe.published,
            f"{statistics.mean(r['minutes'] for r in found):.1f}",
            f"{speed:,.0f}",
        )  # fmt: skip
        table.append(f"| {' | '.join(map(str, cells))} |")
    PAGE.write_text("\n".join([HEAD, *table, ""]))


if __name__ == "__main__":
    main(sys.argv[1:])
