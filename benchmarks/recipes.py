"""What the recipes in configs/ reach, a run at a time, in as many sittings as it takes.

    TFDS_DATA_DIR=DIR python -m benchmarks.recipes            # what is missing
    TFDS_DATA_DIR=DIR python -m benchmarks.recipes mnist_lenet cifar10_fast-1

Each row of docs/results/recipes.json is one `train` command and is not made again, unless its
config or `benchmarks/reached.py` has changed; docs/recipes.md is the table. A run that was
interrupted goes on in runs/recipes/, and one that finished, here or on another machine whose record
was copied there, is only read. Several of these commands may run beside each other.
"""

import fcntl
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.reached import RECIPES, Recipe
from lepton_jax.ablation.analysis.comparison import compare_with_baseline
from lepton_jax.config import config_file
from lepton_jax.tracking.record import Record

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "docs/results/recipes.json"
PAGE = ROOT / "docs/recipes.md"
RUNS = "runs/recipes"

HEAD = """# Results of the recipes

Made by `python -m benchmarks.recipes`: one `train` command for each seed. `test` is read
once, at the checkpoint that is best on `valid`. Minutes are those of the whole command, with
compilation and evaluations. Minutes and examples a second hold for the device in the last
column; up to twelve such runs shared the GPU. docs/results/recipes.json has the rows.
"""


def main(names: list[str]) -> None:
    for recipe in RECIPES.values():
        for seed in recipe.seeds:
            if names and not {recipe.name, f"{recipe.name}-{seed}"} & set(names):
                continue
            flags = _flags(recipe, seed)
            key = {"recipe": recipe.name, "seed": seed, "fingerprint": _fingerprint(flags)}
            if not any(key.items() <= row.items() for row in _rows()):
                workdir = _workdir(recipe.name, seed)
                if not _finished(workdir, key["fingerprint"]):
                    _train(flags, workdir)
                _keep(key | _found(recipe, workdir))


def _flags(recipe: Recipe, seed: int) -> list[str]:
    """The command's flags, with the workdirs of the recipes that this one starts from."""
    path = recipe.path.format_map(_Before())
    overrides = {k: v.format_map(_Before()) for k, v in recipe.overrides.items()}
    flags = [f"--config.{k}={v}" for k, v in {**overrides, "seed": str(seed)}.items()]
    return [f"--config=configs/{path}", *flags]


class _Before(dict[str, str]):
    def __missing__(self, name: str) -> str:
        if not any(row["recipe"] == name for row in _rows()):
            sys.exit(f"run {name} first: python -m benchmarks.recipes {name}")
        return _workdir(name, 0)


def _workdir(name: str, seed: int) -> str:
    return f"{RUNS}/{name}-{seed}"


def _fingerprint(flags: list[str]) -> str:
    path, *keys = (flag.split("=", 1)[1] for flag in flags)
    names = [flag.split("=", 1)[0].removeprefix("--config.") for flag in flags[1:]]
    config, _ = config_file.load_config(path, dict(zip(names, keys, strict=True)))
    return config.fingerprint()


def _finished(workdir: str, fingerprint: str) -> bool:
    if not Record.exists(ROOT / workdir):
        return False
    record = Record.open(ROOT / workdir, writes=False)
    finished = record.status().get("state") == "finished"
    return finished and record.provenance()["fingerprint"] == fingerprint


def _train(flags: list[str], workdir: str) -> None:
    command = [sys.executable, "launch.py", "train", *flags, f"--workdir={workdir}"]
    print(" ".join(command[1:]), flush=True)
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


def _found(recipe: Recipe, workdir: str) -> dict[str, Any]:
    """What the record of a finished run says."""
    record = Record.open(ROOT / workdir, writes=False)
    timings, facts, results = record.timings(), record.provenance(), record.results()
    batch = json.loads(record.config_text())["batch_size"]
    speeds = [t["steps_per_second"] * batch for t in timings if "steps_per_second" in t]
    at = results["checkpoint"]["step"]
    chosen = {k: v for row in record.rows() if row["step"] == at for k, v in row.items()}
    values = {}
    for metric in recipe.metrics:
        split, _, name = metric.partition("/")
        values[metric] = chosen[metric] if split == "valid" else results[split][name]
    print(f"{workdir}: {values}", flush=True)
    return {
        "values": values,
        "minutes": round(sum(t.get("seconds", 0.0) for t in timings) / 60, 2),
        "examples_per_second": round(statistics.median(speeds), 1),
        "commit": (facts.get("code") or {}).get("commit"),
        "device": _device(facts),
    }


def _device(facts: dict[str, Any]) -> str:
    kind = (facts.get("devices") or {}).get("kind", "cpu")
    return f"{facts['visible_cpus']} CPU cores" if kind == "cpu" else kind


def _rows() -> list[dict[str, Any]]:
    return json.loads(ROWS.read_text()) if ROWS.exists() else []


def _keep(row: dict[str, Any]) -> None:
    """Adds a row, or puts it in the place of an older one, and writes the table."""
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    with open(ROOT / "runs/recipes.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [r for r in _rows() if (r["recipe"], r["seed"]) != (row["recipe"], row["seed"])]
        order = list(RECIPES)
        rows = sorted([*rows, row], key=lambda r: (order.index(r["recipe"]), r["seed"]))
        ROWS.write_text(json.dumps(rows, indent=1) + "\n")
        PAGE.write_text("\n".join([HEAD, *table(rows), *differences(rows), ""]))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows of each recipe in one line of Markdown, beside what it is to reach."""
    heads = ("recipe", "metric", "mean ± sd", "seeds", "reaches", "met", "published", "minutes")
    lines = [f"| {' | '.join(heads)} | ex/s | on |", "|" + "---|" * 10]
    first = {name: _values(rows, name) for name in RECIPES}
    for name, recipe in RECIPES.items():
        found = [r for r in rows if r["recipe"] == name]
        if not found:
            continue
        for metric in recipe.metrics:
            values = [r["values"][metric] for r in found]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            judged = metric == recipe.metrics[0]
            met = sum(recipe.met(v, first) for v in values)
            cells = (
                name, metric, f"{statistics.mean(values):.4f}{spread}", len(found),
                recipe.reaches if judged else "", f"{met} of {len(found)}" if judged else "",
                recipe.published if judged else "",
                f"{statistics.mean(r['minutes'] for r in found):.1f}",
                f"{statistics.median(r['examples_per_second'] for r in found):,.0f}",
                ", ".join(sorted({r["device"] for r in found})),
            )  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def differences(rows: list[dict[str, Any]]) -> list[str]:
    """A line of Markdown for each recipe that is compared with another, after an empty one."""
    lines = []
    for recipe in RECIPES.values():
        metric = recipe.metrics[0]
        own, other = (
            {r["seed"]: r["values"][metric] for r in rows if r["recipe"] == name}
            for name in (recipe.name, recipe.against)
        )
        if own and other:
            found = compare_with_baseline(recipe.name, own, other, "max")
            lines += ["", f"{recipe.name} less {recipe.against}, {metric}: {found.difference:+.4f}"]
            if found.interval:
                low, high = found.interval.low, found.interval.high
                lines[-1] += f" (95 % interval {low:+.4f} to {high:+.4f}, {found.seeds} seeds)"
    return lines


def _values(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    return next((r["values"] for r in rows if r["recipe"] == name), {})


if __name__ == "__main__":
    main(sys.argv[1:])
