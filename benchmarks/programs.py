"""What a bundle's programs cost beside the model that they were made of, family by family.

Three functions answer turn about in one process: the jitted forward pass, the StableHLO program and
the ONNX program in onnxruntime. What is measured are processor seconds of all threads. The weights
are drawn; the forms are the recipes' tiny ones, where what a call costs by itself weighs most.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.formats import BATCHES, draw
from benchmarks.pairs import Line, ratios, spread
from lepton_jax.export.stablehlo import export_program
from lepton_jax.serving import loader
from lepton_jax.serving.programs import open_stablehlo

FAMILIES = {
    "CNN": "cifar10_fast",
    "encoder": "sst2_bert_small",
    "decoder": "shakespeare_gpt",
    "recurrent": "sst2_lstm",
    "detector": "bccd_detector",
    "generator": "mnist_vae",
}
"""A recipe of each family."""

AIM = 1.05
SECONDS = 0.05
"""Of calls that are timed at a time, at least."""


def lines(pairs: int) -> list[Line]:
    """Returns a line for each family and batch size."""
    return [line for family in FAMILIES for line in _lines(family, pairs)]


def _lines(family: str, pairs: int) -> list[Line]:
    drawn = draw(FAMILIES[family])
    jitted, weights = jax.jit(drawn.forward), jax.device_put(drawn.weights)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        _, onnx = drawn.open_onnx(Path(folder))
        program, _ = export_program(drawn.forward, drawn.weights, drawn.fields)
        (Path(folder) / "forward.bin").write_bytes(program)
        stablehlo = open_stablehlo(folder, {"path": "forward.bin", "weights": loader.WEIGHTS})
        for count in BATCHES:
            batch = {k: x[np.arange(count) % len(x)] for k, x in drawn.examples.items()}
            ours = _timed(lambda batch=batch: jitted(weights, batch))
            over = [ratios(ours, _timed(lambda p=p, batch=batch: p(batch)), pairs)
                    for p in (stablehlo, onnx)]  # fmt: skip
            median = float(np.median(over[0]))
            name = f"seconds of the StableHLO program over the jitted model's, {family}, {count}"
            detail = f"onnxruntime over it {spread(over[1])}, {FAMILIES[family]}, {pairs} pairs"
            found.append(Line(name, spread(over[0]), f"<= {AIM:g}", median <= AIM, detail))
    return found


def _timed(call: Callable[[], Any]) -> Callable[[], float]:
    """Returns what measures the processor seconds of a call whose answer is fetched."""

    def fetched() -> None:
        jax.tree.map(np.asarray, call())

    fetched()
    began = time.process_time()
    for _ in range(5):
        fetched()
    count = max(1, round(5 * SECONDS / max(time.process_time() - began, 1e-4)))

    def measure() -> float:
        began = time.process_time()
        for _ in range(count):
            fetched()
        return (time.process_time() - began) / count

    return measure
