"""A server under load for two minutes, while the alias moves twice and SIGTERM ends it.

    python -m benchmarks.load [--clients=64] [--seconds=120]

Two versions of a model of the digits are registered, and the first is served as digits@production.
So many clients ask without a pause. After a third of the time the second version is promoted, after
two thirds it is rolled back, and at the end the server is told to end while all of them ask.
Every answer is compared, byte for byte, with the first one of that version to the same image.
A connection that the ending server did not take is counted by itself: to a client it is one that
came too late. Prints what was answered and the server's memory, and writes docs/results/load.json.
Exit code 1 where a request failed or was answered wrongly.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax import api
from lepton_jax.serving.loader import load_bundle

ROOT = Path(__file__).parent.parent


@dataclass
class Asked:
    """What the clients were answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    answers: dict[tuple[str, int], bytes] = field(default_factory=dict)
    wrong: int = 0
    """Answers with other bytes than an earlier one of the same version to the same image."""
    without_retry: int = 0
    """503s that do not say when to come again."""
    broken: list[str] = field(default_factory=list)
    """Requests that were sent and not answered."""
    refused: int = 0
    """Connections that the ending server did not take."""
    inexact: int = 0
    """Answers of which the server does not say that they are exact."""
    longest: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=120)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LEPTON_JAX_REGISTRY"] = f"{folder}/registry"
        images = register_two(Path(folder))
        found = asyncio.run(run_load(images, given.clients, given.seconds))
    (ROOT / "docs/results/load.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    sys.exit(1 if found["failed"] or found["wrong"] else 0)


def register_two(folder: Path) -> np.ndarray:
    """Registers two versions, of which the first is in production; returns images to ask."""
    for name, steps in (("one", 30), ("two", 60)):
        run, bundle = str(folder / name), str(folder / f"{name}_bundle")
        overrides = {"train_for": f"{steps} steps"}
        api.train(f"{ROOT}/configs/digits_cnn.py:tiny", run, overrides=overrides)
        api.export(run, bundle)
        api.verify(bundle)
        api.register(bundle, "digits")
    promote("digits/1")
    images: np.ndarray = load_bundle(folder / "one_bundle").examples()["inputs"]["image"]
    return images


def promote(version: str) -> None:
    """Moves production to a version, by way of staging."""
    api.promote(model=version, to="staging")
    api.promote(model="digits@staging", to="production")


async def run_load(images: np.ndarray, clients: int, seconds: int) -> dict[str, Any]:
    """Serves, asks, moves the alias twice, ends the server; returns what happened."""
    line = [sys.executable, str(ROOT / "launch.py"), "serve", "--model=digits@production"]
    process = await asyncio.create_subprocess_exec(
        *line, "--port=0", "--follow=1", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stderr is not None
    began = time.monotonic()
    port = 0
    async for text in process.stderr:
        event = json.loads(text) if text.startswith(b"{") else {}
        if event.get("event") == "ready":
            port = int(event["address"].rpartition(":")[2])
            break
    ready = time.monotonic() - began
    events: list[str] = []
    reading = asyncio.create_task(read_events(process.stderr, events))
    asked, memory, ending = Asked(), [], asyncio.Event()
    bodies = [build_request(image) for image in images]
    asking = [asyncio.create_task(ask(port, bodies, i, asked, ending)) for i in range(clients)]
    began = time.monotonic()
    moves = {seconds // 3: ("promote", "digits/2"), 2 * seconds // 3: ("rollback", "")}
    moving = []
    for second in range(seconds):
        await asyncio.sleep(max(0.0, began + second - time.monotonic()))
        memory.append(resident(process.pid))
        if second in moves:
            moving.append(asyncio.create_task(asyncio.to_thread(move, *moves[second])))
    await asyncio.gather(*moving)
    ending.set()
    process.send_signal(signal.SIGTERM)
    await asyncio.gather(*asking)
    code = await process.wait()
    await reading
    answered = sum(asked.statuses.values())
    failed = {s: n for s, n in asked.statuses.items() if s not in (200, 503)}
    settled = memory[len(memory) // 10 : seconds // 3]
    return {
        "clients": clients,
        "seconds": seconds,
        "answered": answered,
        "requests_a_second": round(answered / seconds),
        "statuses": {str(s): n for s, n in sorted(asked.statuses.items())},
        "versions": dict(asked.versions),
        "longest_ms": round(1e3 * asked.longest),
        "failed": sum(failed.values()) + len(asked.broken) + asked.without_retry,
        "broken": asked.broken[:5],
        "refused_after_sigterm": asked.refused,
        "wrong": asked.wrong,
        "inexact": asked.inexact,
        "loads": sum(e == "loaded" for e in events) + 1,
        "exit_code": code,
        "ready_s": round(ready, 2),
        "memory_mb": {
            "before_the_first_move": max(settled),
            "most": max(memory),
            "at_the_end": memory[-1],
        },
    }


def move(how: str, version: str) -> None:
    """Promotes a version, or rolls production back."""
    if how == "promote":
        promote(version)
    else:
        api.registry(["rollback"], model="digits", to="production")


async def ask(
    port: int, bodies: list[bytes], first: int, asked: Asked, ending: asyncio.Event
) -> None:
    """Asks one image after another, until the server takes no connection any more."""
    place = first
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as e:
            if not ending.is_set():
                asked.broken.append(f"connecting: {e}")
            asked.refused += ending.is_set()
            return
        open_ = is_new = True
        while open_:
            place = (place + 1) % len(bodies)
            start = time.perf_counter()
            try:
                writer.write(bodies[place])
                await writer.drain()
                head = await reader.readuntil(b"\r\n\r\n")
                status, headers = parse_head(head)
                body = await reader.readexactly(int(headers["content-length"]))
            except (OSError, asyncio.IncompleteReadError) as e:
                if ending.is_set() and is_new:  # it waited where the server took no more
                    asked.refused += 1
                    return
                asked.broken.append(f"{type(e).__name__} after {time.perf_counter() - start:.2f} s")
                break
            is_new = False
            asked.longest = max(asked.longest, time.perf_counter() - start)
            asked.statuses[status] += 1
            if status == 200:
                note(asked, place, int(headers["inference-header-content-length"]), body)
            elif status == 503:
                asked.without_retry += "retry-after" not in headers
                await asyncio.sleep(0.05)
            open_ = headers.get("connection", "").lower() != "close"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def note(asked: Asked, place: int, size: int, body: bytes) -> None:
    """Notes an answer, and whether it is the one that was given before."""
    said = json.loads(body[:size])
    version = said["model_version"]
    asked.versions[version] += 1
    asked.inexact += said["parameters"]["exact"] is not True
    asked.wrong += asked.answers.setdefault((version, place), body[size:]) != body[size:]


def build_request(image: np.ndarray) -> bytes:
    """Builds the bytes of a request of one image."""
    tensor = {"name": "image", "shape": [1, *image.shape], "datatype": "UINT8"}
    said = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": image.nbytes}}],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(said).encode()
    head = (
        "POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\n"
        f"Inference-Header-Content-Length: {len(text)}\r\n"
        f"Content-Length: {len(text) + image.nbytes}\r\n\r\n"
    )
    return head.encode() + text + image.tobytes()


def parse_head(head: bytes) -> tuple[int, Mapping[str, str]]:
    """Returns the status and the headers of a response."""
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines if line)
    return int(first.split()[1]), {k.lower(): v for k, v in pairs}


async def read_events(log: asyncio.StreamReader, events: list[str]) -> None:
    """Reads the server's log, but for its requests, until it ends."""
    async for text in log:
        if text.startswith(b"{") and (event := json.loads(text)["event"]) != "request":
            events.append(event)


def resident(pid: int) -> int:
    """Returns the memory of a process, in MB."""
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in x]
    return int(line.split()[1]) // 1000


if __name__ == "__main__":
    main()
