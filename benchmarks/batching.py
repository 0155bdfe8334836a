"""Requests a second that are computed together, over one after another; and how a server starts.

    python -m benchmarks batching

The program is the ONNX one of sst2_bert_small at its full size, made after a step of training: what
is measured does not depend on the weights. Clients ask one text after another of the batcher that
the server has, in one process, so that HTTP is left out. "One after another" is the same batcher
with the size 1 alone. "Any sizes" is the batcher with every size: the server computes those sizes
alone whose answers have equal bytes.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.pairs import Line, ratios, spread
from lepton_jax import api
from lepton_jax.cluster.wire import free_port
from lepton_jax.serving.batches.batcher import Batcher, BatchRules
from lepton_jax.serving.batches.sizes import Arrays
from lepton_jax.serving.live.served import ServedModel
from lepton_jax.serving.loader import load_bundle

ROOT = Path(__file__).parent.parent
SECONDS = 2.0
STARTS = 5


def lines(pairs: int) -> list[Line]:
    """Returns the lines of the table in docs/benchmarks.md."""
    with tempfile.TemporaryDirectory() as folder:
        encoder, digits = export_encoder(Path(folder)), export_digits(Path(folder))
        bundle = load_bundle(encoder, program="onnx")
        sizes = ServedModel("encoder", "1", bundle, BatchRules()).sizes
        texts = bundle.examples()["inputs"]
        found = []
        for clients, aim in ((1, 0.97), (64, 1.2)):

            def rate(of: Sequence[int], clients: int = clients) -> Callable[[], float]:
                return lambda: count_answers(bundle.compute, of, texts, clients)

            together = ratios(rate([1]), rate(sizes), pairs)
            found.append(
                Line(
                    f"requests/s batched greedily over one after another, sst2_bert_small, "
                    f"{clients} clients",
                    spread(together),
                    f">= {aim}",
                    statistics.median(together) >= aim,
                    f"batches of {', '.join(map(str, sizes))}; {pairs} pairs",
                )
            )
        any_size = ratios(rate([*range(1, sizes[-1] + 1)]), rate(sizes), pairs)
        found.append(
            Line(
                "requests/s with equal bytes over any sizes, sst2_bert_small, 64 clients",
                spread(any_size),
                ">= 0.95",
                statistics.median(any_size) >= 0.95,
                f"{pairs} pairs",
            )
        )
        return [*found, *measure_starts(digits)]


def count_answers(
    compute: Callable[[Arrays], Arrays],
    sizes: Sequence[int],
    rows: Mapping[str, np.ndarray],
    clients: int,
) -> float:
    """Returns the requests a second of so many clients, each of which asks without a pause."""

    async def ask(batcher: Batcher, client: int, ends: float) -> int:
        answered, count = 0, len(next(iter(rows.values())))
        while time.monotonic() < ends:
            at = (client + answered) % count
            row = {name: x[at : at + 1] for name, x in rows.items()}
            await batcher.answer(row, time.monotonic() + 60)
            answered += 1
        return answered

    async def ask_all() -> float:
        batcher = Batcher(compute, sizes, BatchRules())
        began = time.monotonic()
        asked = [ask(batcher, client, began + SECONDS) for client in range(clients)]
        answered = sum(await asyncio.gather(*asked))
        await batcher.close()
        return answered / (time.monotonic() - began)

    return asyncio.run(ask_all())


def measure_starts(bundle: Path) -> list[Line]:
    """Starts a server of a small bundle a few times: seconds until it is ready, and its memory."""
    seconds, memory = [], []
    for _ in range(STARTS):
        port = free_port()
        line = [sys.executable, "-m", "lepton_jax.serving", f"--bundle={bundle}", f"--port={port}"]
        began = time.monotonic()
        with subprocess.Popen(line, stderr=subprocess.DEVNULL) as process:
            while not is_ready(port):
                time.sleep(0.01)
            seconds.append(time.monotonic() - began)
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory.append(int(status.partition("VmRSS:")[2].split()[0]) / 1000)
            process.terminate()
    ready, megabytes = statistics.median(seconds), statistics.median(memory)
    return [
        Line("a server of digits_cnn is ready after", f"{ready:.2f} s", "<= 2 s", ready <= 2,
             f"from its start; {min(seconds):.2f} to {max(seconds):.2f} s, {STARTS} starts"),
        Line("memory of it that nobody asks", f"{megabytes:.0f} MB", "stated", True),
    ]  # fmt: skip


def is_ready(port: int) -> bool:
    """Tells whether a server says that it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5) as said:
            return said.status == 200
    except OSError:
        return False


def export_encoder(folder: Path) -> Path:
    """Exports sst2_bert_small at its full size, of generated texts; returns the bundle."""
    size = {"model.layers": 4, "model.width": 256, "data.encode.length": 64, "train_for": "1 steps"}
    run, bundle = folder / "encoder_run", folder / "encoder"
    api.train(f"{ROOT}/configs/sst2_bert_small.py:tiny", str(run), overrides=size)
    api.export(str(run), str(bundle))
    return bundle


def export_digits(folder: Path) -> Path:
    """Exports digits_cnn at its full size, and returns the bundle."""
    run, bundle = folder / "digits_run", folder / "digits"
    config = f"{ROOT}/configs/digits_cnn.py"
    api.train(config, str(run), overrides={"train_for": "2 epochs"})
    api.export(str(run), str(bundle))
    return bundle
