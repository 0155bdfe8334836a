"""How often each test of drift alarms, where nothing moves and where something does.

    python -m benchmarks.drift [WINDOWS]  # writes docs/results/drift.json and docs/drift.md's table

Windows of MNIST, and references of 500 other images, are drawn anew: 1,000 windows of each size and
world, 10 of them with one reference. Each test alone is at a level of 5 %, and all of them together
too. A run that was stopped goes on with the rows that are missing.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from lepton_jax.config.pipeline import NO_TRANSFORMS
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.sources.tfds import tfds
from lepton_jax.export.shifts import shift_images
from lepton_jax.serving.drift.measured import MeasuredRows, measure_examples
from lepton_jax.serving.drift.reference import Reference
from lepton_jax.serving.drift.sequential import SequentialTest
from lepton_jax.serving.drift.window import WindowJudge

DOCS = Path(__file__).parent.parent / "docs"
ROWS, PAGE = DOCS / "results/drift.json", DOCS / "drift.md"

WORLDS = {
    "no shift": ("brightness", 1.0),
    "small shift: brightness 0.97": ("brightness", 0.97),
    "large shift: brightness 0.8": ("brightness", 0.8),
}
SIZES = (50, 200, 1000)
REFERENCE = 500
TOGETHER = 10
"""Windows that are compared with one reference."""
LEVEL = 0.05
FOLKLORE = 0.2
"""'A significant shift', as is often read of PSI."""

TESTS = {
    "ks": "KS",
    "psi": "PSI",
    "chi_squared": "χ²",
    "classifier": "classifier",
    "bets": "bets",
    "together": "all together",
    "folklore": f"PSI > {FOLKLORE}",
}


def main() -> None:
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
    done = {(r["world"], r["size"]) for r in rows if r["windows"] == windows}
    missing = [(w, n) for n in SIZES for w in WORLDS if (w, n) not in done]
    worlds = make_worlds() if missing else {}
    for world, size in missing:
        rows.append(simulate(worlds, world, size, windows))
        ROWS.write_text(json.dumps(rows, indent=1) + "\n")
        print(rows[-1], flush=True)
        write_table(make_table(rows))
    print(make_table(rows))


def write_table(table: str) -> None:
    """Writes the table into docs/drift.md, in the place of what was there."""
    before, mark, rest = PAGE.read_text().partition("<!-- table -->\n")
    after = rest.partition("<!-- end -->")[2]
    PAGE.write_text(f"{before}{mark}\n{table}\n\n<!-- end -->{after}")


def make_worlds() -> dict[str, tuple[MeasuredRows, np.ndarray]]:
    """Measures all images of MNIST that the model has not seen, in each world, with whether the
    answers are right.
    """
    data = load_dataset(
        tfds(dataset="mnist"), decode=NO_TRANSFORMS, valid_fraction=0.1, split_seed=0
    )
    columns = data.splits["train"].columns
    rows = np.arange(40_000)
    image, label = (np.asarray(columns[k][rows]) for k in ("image", "label"))
    model = LogisticRegression(C=0.05, max_iter=200)
    model.fit(image[:5000].reshape(5000, -1) / 255, label[:5000])
    image, label = image[5000:], label[5000:]
    found = {}
    for world, (transform, amount) in WORLDS.items():
        parts = []
        for start in range(0, len(image), 500):
            shifted = shift_images(image[start : start + 500], transform, amount)
            chance = model.predict_proba(shifted.reshape(len(shifted), -1) / 255)
            outputs = {"probabilities": chance, "label": chance.argmax(-1)}
            parts.append(measure_examples({}, {"image": shifted}, outputs))
        values = np.concatenate([p.values for p in parts])
        said = np.concatenate([p.label for p in parts if p.label is not None])
        found[world] = MeasuredRows(parts[0].names, values, said), said == label
    return found


def simulate(
    worlds: dict[str, tuple[MeasuredRows, np.ndarray]], world: str, size: int, windows: int
) -> dict[str, Any]:
    """Counts the alarms of each test in windows of one size."""
    chance, alarms = np.random.default_rng(size), Counter[str]()
    held_out, correct = worlds["no shift"]
    moved, truth = worlds[world]
    assert held_out.label is not None
    assert moved.label is not None
    off, inside, began = [], 0, time.process_time()
    for _ in range(windows // TOGETHER):
        drawn = chance.choice(len(correct), REFERENCE + TOGETHER * size, replace=False)
        rows, others = drawn[:REFERENCE], drawn[REFERENCE:].reshape(TOGETHER, size)
        reference = Reference(
            held_out.names, held_out.values[rows], held_out.label[rows], correct[rows], 10, {}
        )
        judge = WindowJudge(reference, size)
        for window in others:
            values = moved.values[window]
            verdict = judge.judge(values, moved.label[window], LEVEL / 2)
            alarms.update(t.test for t in verdict.tests if t.p_value <= LEVEL)
            psi = next(t.distance for t in verdict.tests if t.test == "psi")
            alarms["folklore"] += int(psi > FOLKLORE)
            bets = SequentialTest(reference)
            bets.watch(values, LEVEL / size)
            alarms["bets"] += int(bets.most >= 1)
            alarms["together"] += int(verdict.alarm or bets.most >= 2)  # at half the level
            assert verdict.performance is not None
            right = truth[window].mean()
            low, high = verdict.performance.interval
            off.append(abs(verdict.performance.accuracy - right))
            inside += int(low <= right <= high)
    return {
        "world": world,
        "size": size,
        "windows": windows,
        "alarms": {name: alarms[name] for name in TESTS},
        "accuracy off by": float(np.mean(off)),
        "accuracy inside": inside,
        "seconds": round(time.process_time() - began),
    }


def make_table(rows: list[dict[str, Any]]) -> str:
    """Returns the share of windows that alarm, in Markdown."""
    lines = [
        f"| world | examples | {' | '.join(TESTS.values())} | accuracy off by | inside |",
        f"|---|---|{'---|' * (len(TESTS) + 2)}",
    ]
    order = {w: i for i, w in enumerate(WORLDS)}
    for row in sorted(rows, key=lambda r: (order[r["world"]], r["size"])):
        shares = [f"{row['alarms'][test] / row['windows']:.3f}" for test in TESTS]
        inside = f"{row['accuracy inside'] / row['windows']:.3f}"
        cells = [row["world"], f"{row['size']:,}", *shares, f"{row['accuracy off by']:.3f}", inside]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
