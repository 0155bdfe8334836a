"""Tokens a second of texts that are streamed to one client, and to eight at once.

    python -m benchmarks streaming

A bundle of shakespeare_gpt's size is made after three steps of training: what is measured does not
depend on the weights. It is served in a process of its own, by its ONNX program and by its
StableHLO one. Eight texts are asked for at once and one after another, turn about, on one machine.
"""

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generation import PROMPT, ROOT, SIZES
from benchmarks.pairs import Line, spread
from lepton_jax import api

SIZE = "shakespeare_gpt"
CLIENTS = 8
TOKENS = 150
PROGRAMS = ("onnx", "stablehlo")


@dataclass(frozen=True)
class Streamed:
    """How one text came: seconds to its first token, and to its last."""

    first: float
    last: float


def lines(pairs: int) -> list[Line]:
    """Returns the lines of the table in docs/benchmarks.md."""
    return [
        Line(
            f"tokens/s of {CLIENTS} streamed texts at once over one after another, {SIZE}, "
            f"{row['program']}",
            spread(row["ratio"]),
            ">= 2",
            statistics.median(row["ratio"]) >= 2,
            f"{row['tokens_a_second_at_8']:,.0f} against {row['tokens_a_second_at_1']:,.0f}; first "
            f"token after {row['first_ms_at_1']:.0f} ms at 1 client, {row['first_ms_at_8']:.0f} ms "
            f"at {CLIENTS}; {len(row['ratio'])} pairs",
        )
        for row in measure_all(min(pairs, 7))
    ]


def measure_all(rounds: int) -> Iterator[dict[str, Any]]:
    """Yields what was measured of each program."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_size(SIZES[SIZE], Path(folder))
        for program in PROGRAMS:
            with serve_bundle(bundle, program) as port:
                yield {"program": program, **measure(port, rounds)}


def export_size(size: dict[str, int], folder: Path) -> Path:
    """Exports shakespeare_gpt in one of its sizes, and returns the bundle's folder."""
    overrides: dict[str, Any] = {f"model.{k}": v for k, v in size.items() if k != "length"}
    overrides["data.encode.length"] = size["length"]
    api.train(f"{ROOT}/configs/shakespeare_gpt.py:tiny", str(folder / "run"), overrides=overrides)
    api.export(str(folder / "run"), str(folder / "bundle"))
    return folder / "bundle"


@contextmanager
def serve_bundle(bundle: Path, program: str) -> Iterator[int]:
    """Serves a bundle in a process of its own; yields the port."""
    command = [sys.executable, "-m", "lepton_jax.serving", f"--bundle=gpt={bundle}"]
    process = subprocess.Popen(
        [*command, f"--program={program}", "--port=0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    events = (json.loads(line) for line in process.stderr)
    ready = next(said for said in events if said["event"] == "ready")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(process.stderr.read)  # else it would wait for a reader of its log
        try:
            yield int(ready["address"].rpartition(":")[2])
        finally:
            process.terminate()
            process.wait(60)


def stream_once(port: int, seed: int) -> Streamed:
    """Asks for a text and reads it as it comes."""
    asked = {"model": "gpt", "prompt": PROMPT, "max_tokens": TOKENS, "seed": seed, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    start, first, count = time.perf_counter(), 0.0, 0
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/completions", json.dumps(asked), headers)
    for line in connection.getresponse():
        if line.startswith(b"data: {"):
            first, count = first or time.perf_counter() - start, count + 1
    last = time.perf_counter() - start
    connection.close()
    assert count > TOKENS / 2, f"{count} pieces of {TOKENS} tokens"
    return Streamed(first, last)


def at_once(port: int) -> tuple[float, Sequence[Streamed]]:
    """Returns the seconds of as many texts as there are clients, all asked for at once."""
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        streamed = list(pool.map(lambda seed: stream_once(port, seed), range(CLIENTS)))
    return time.perf_counter() - start, streamed


def in_turn(port: int) -> tuple[float, Sequence[Streamed]]:
    """Returns the seconds of the same texts, each asked for when the one before has ended."""
    start = time.perf_counter()
    streamed = [stream_once(port, seed) for seed in range(CLIENTS)]
    return time.perf_counter() - start, streamed


def measure(port: int, rounds: int) -> dict[str, Any]:
    """Measures both ways turn about."""
    at_once(port), in_turn(port)
    found: dict[str, list[tuple[float, Sequence[Streamed]]]] = {"once": [], "turn": []}
    for i in range(rounds):
        for way in ("once", "turn") if i % 2 else ("turn", "once"):
            found[way].append({"once": at_once, "turn": in_turn}[way](port))
    seconds = {way: [s for s, _ in runs] for way, runs in found.items()}
    firsts = {way: [x.first for _, texts in runs for x in texts] for way, runs in found.items()}
    all_tokens = CLIENTS * TOKENS
    return {
        "first_ms_at_1": 1000 * statistics.median(firsts["turn"]),
        "first_ms_at_8": 1000 * statistics.median(firsts["once"]),
        "tokens_a_second_at_1": all_tokens / statistics.median(seconds["turn"]),
        "tokens_a_second_at_8": all_tokens / statistics.median(seconds["once"]),
        "ratio": [t / o for t, o in zip(seconds["turn"], seconds["once"], strict=True)],
    }
