"""Tokens a second of `generate` from a bundle, beside those from the run that it came from.

    python -m benchmarks.generation [--pairs=9]

A run of three steps is made and exported: what is measured does not depend on the weights. The two
readers make texts turn about in one process, on one thread, in processor seconds. Prints a table
in Markdown and writes docs/results/generation.json.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.pairs import ratios, spread
from lepton_jax import api
from lepton_jax.generation.readers import BundleReader, RunReader
from lepton_jax.generation.text import TokenReader

ROOT = Path(__file__).parent.parent
TOKENS = 50
"""Of a text, after PROMPT: as many as the context of the smallest recipe holds."""
PROMPT = "bado k"
SIZES = {
    "shakespeare_gpt": {"layers": 4, "width": 128, "heads": 4, "length": 64},
    "shakespeare_gpt, gpu": {"layers": 6, "width": 384, "heads": 6, "length": 256},
}
"""The sizes of the recipe's two forms, on generated texts: its data need not be at hand."""


def seconds_of_text(reader: TokenReader) -> Callable[[], float]:
    """Returns what makes a text of the likeliest tokens, and returns the processor seconds of a
    token."""

    def make() -> float:
        with reader.running():
            tokens = reader.prompt(PROMPT)
            reader.logits(tokens)
            start = time.process_time()
            for _ in range(TOKENS):
                tokens.append(int(reader.logits(tokens).argmax()))
            return (time.process_time() - start) / TOKENS

    make()
    return make


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    pairs = parser.parse_args().pairs
    rows = []
    print("| size of | run, tokens/s | bundle, tokens/s | bundle over run |\n|---|---|---|---|")
    for name, size in SIZES.items():
        row = {"size": name, **measure(size, pairs)}
        rows.append(row)
        speeds = row["tokens_a_second"]
        over = spread(row["bundle_over_run"])
        print(f"| {name} | {speeds['run']} | {speeds['bundle']} | {over} |", flush=True)
        (ROOT / "docs/results/generation.json").write_text(json.dumps(rows, indent=1) + "\n")


def measure(size: Mapping[str, int], pairs: int) -> dict[str, Any]:
    """Returns the tokens a second of both readers of a model, and their ratio pair by pair."""
    overrides: dict[str, Any] = {f"model.{k}": v for k, v in size.items() if k != "length"}
    overrides["data.encode.length"] = size["length"]
    with tempfile.TemporaryDirectory() as folder:
        api.train(f"{ROOT}/configs/shakespeare_gpt.py:tiny", f"{folder}/run", overrides=overrides)
        api.export(f"{folder}/run", f"{folder}/bundle")
        readers = {
            "run": RunReader(f"{folder}/run", "last", TOKENS),
            "bundle": BundleReader(f"{folder}/bundle", None),
        }
        sides = {name: seconds_of_text(reader) for name, reader in readers.items()}
        found = ratios(sides["bundle"], sides["run"], pairs)
        speeds = {name: round(1 / min(side() for _ in range(3))) for name, side in sides.items()}
    return {"tokens_a_second": speeds, "bundle_over_run": found}


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread
    main()
