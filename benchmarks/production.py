"""A model in production, and back to the lab: `make production`.

A model of the digits is trained on three quarters of them, promoted and served. What clients send
then are the other digits, first as they are and then darker, as if a lamp had failed. The drift is
seen, clients tell what was true, and a successor is trained on that: it is compared with the model
in production, promoted, and takes over while clients go on asking. At last it is taken back. What
does not come out as it should stops the script.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from benchmarks.graduate import children_seconds, run
from lepton_jax.data.sources.digits import digits

GATE = "test/accuracy>=0.93,test/accuracy>=production-0.03,calibration<=0.1"
SHADE = 0.35
"""By what the pixels of the darker images are multiplied."""
CLIENTS = 4
"""Clients that ask all the time while an alias moves."""

PATIENCE = 120.0
"""Seconds that a client waits for an answer: the machine trains meanwhile."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.production", description=__doc__)
    parser.add_argument("folder", nargs="?", default="runs/production")
    folder = Path(parser.parse_args().folder)
    folder.mkdir(parents=True, exist_ok=False)
    os.environ["LEPTON_JAX_REGISTRY"] = str((folder / "registry").resolve())
    began = time.monotonic()
    image, label = divide_digits(folder / "lab.npz")
    put_into_production(folder)
    kept = folder / "kept"
    with serving("--model=digits@production", f"--keep_requests={kept}", "--keep_share=1") as url:
        ask_by_tritonclient(url, image[:64], label[:64])
        half = len(image) // 2
        send(url, "bright", image[:half], label[:half])
        dark = np.round(image * SHADE).astype(np.uint8)
        send(url, "dark", dark[half:], label[half:])
        request = folder / "retrain.json"
        run("monitor", f"--url={url}", expected=1)
        run("monitor", f"--requests={kept}", "--model=digits@production",
            f"--retrain_request={request}", expected=1)  # fmt: skip
        run("requests", f"{kept}")
        # The bundle carries no path of its data: the config of its run has it.
        run("improve", f"--request={request}", f"--workdir={folder}/improved",
            f"--config={folder}/first/config.json", "--config.train_for=8 epochs")  # fmt: skip
        with asking(url, dark[:32]) as answered:
            approve = ("improve", f"--workdir={folder}/improved", "--approver=alice")
            expect_version(answered, "2", lambda: run(*approve))
            back = ("registry rollback", "--model=digits", "--to=production", "--by=alice")
            expect_version(answered, "1", lambda: run(*back))
        print(f"while the alias moved twice: {describe(answered)}")
    run("registry history", "--model=digits")
    run("replay-log", f"--requests={kept}")
    took, spent = time.monotonic() - began, children_seconds()
    print(f"\nAll of it took {took:.0f} s, {spent:.0f} s of a processor; it is in {folder}")


def divide_digits(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes three quarters of the digits to a file, for the lab. Returns the others, which are
    sent to the server: images uint8 [N, 8, 8, 1] and their classes [N].
    """
    columns = [split.columns for split in digits().splits.values()]
    image, label = (np.concatenate([np.asarray(c[k]) for c in columns]) for k in ("image", "label"))
    order = np.random.default_rng(0).permutation(len(label))
    sent, test, train = np.split(order, [len(order) // 4, len(order) // 2])
    arrays = {f"{name}_image": image[i] for name, i in {"train": train, "test": test}.items()}
    arrays |= {f"{name}_label": label[i] for name, i in {"train": train, "test": test}.items()}
    np.savez(file, classes=np.array([*"0123456789"]), **arrays)
    return image[sent], label[sent]


def put_into_production(folder: Path) -> None:
    """Trains a first model, and promotes it."""
    source = ("--config.data.source.name=npz", f"--config.data.source.path={folder}/lab.npz")
    run("train", "--config=digits_cnn", f"--workdir={folder}/first", *source,
        "--config.train_for=15 epochs")  # fmt: skip
    run("export", f"--workdir={folder}/first", f"--out={folder}/first/bundle")
    run("verify", f"--bundle={folder}/first/bundle")
    run("register", f"--bundle={folder}/first/bundle", "--model=digits")
    run("registry gate", "--model=digits", f"--require={GATE}")
    run("promote", "--model=digits/1", "--to=staging")
    run("promote", "--model=digits@staging", "--to=production")


@contextmanager
def serving(*flags: str) -> Iterator[str]:
    """Runs a server until the block ends; its address."""
    print(f"\n$ lepton serve {' '.join(flags)}", flush=True)
    began = time.monotonic()
    words = [sys.executable, "-m", "lepton_jax", "serve", *flags, "--port=0", "--follow=0.5"]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    events = read_events(server.stderr)
    url = next((e["address"] for e in events if e.get("event") == "ready"), "")
    if not url:
        sys.exit("the server did not come up")
    # Nobody reads the log from here on, and a full pipe would hold the server up.
    threading.Thread(target=server.stderr.read, daemon=True).start()
    print(f"[ready after {time.monotonic() - began:.1f} s at {url}]", flush=True)
    try:
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        if server.wait(timeout=60):
            sys.exit(f"the server ended with exit code {server.returncode}")


def read_events(lines: Iterator[str] | Sequence[str]) -> Iterator[dict]:
    """Yields the objects of a server's log; other lines are passed over."""
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)


def ask_by_tritonclient(url: str, image: np.ndarray, label: np.ndarray) -> None:
    """Asks as Triton's own client does, with binary tensors."""
    from tritonclient.http import InferenceServerClient, InferInput

    with InferenceServerClient(urlsplit(url).netloc) as client:
        tensor = InferInput("image", list(image.shape), "UINT8")
        tensor.set_data_from_numpy(image)
        answer = client.infer("digits", [tensor], request_id="triton")
        version, said = answer.get_response()["model_version"], answer.as_numpy("label")
    right = float((said == label).mean())
    print(f"tritonclient: {len(label)} images answered by version {version}, {right:.1%} right")
    if right < 0.9:
        sys.exit("expected nine in ten to be right")


def send(url: str, name: str, image: np.ndarray, label: np.ndarray) -> None:
    """Sends images one by one, and then tells what they were. Prints how many were right."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        for i in range(len(image)):
            post(client, "/v2/models/digits/infer", {"id": f"{name}-{i}", **tensors(image[i])})
        right = 0
        for i, true in enumerate(label):
            told = {"id": f"{name}-{i}", "label": str(true)}
            right += post(client, "/feedback", told)["right"][0]
        known = client.get("/feedback").json()["models"][0]
    print(f"{name}: {len(image)} images, {right / len(image):.1%} right by feedback")
    low, high = known["interval"]
    print(f"live accuracy {known['accuracy']:.4f}, 95 % interval {low:.4f} to {high:.4f}")


def tensors(image: np.ndarray) -> dict:
    """Returns the tensors of a request for one image, [H, W, C]."""
    return {
        "inputs": [
            {"name": "image", "datatype": "UINT8", "shape": [1, *image.shape],
             "data": image.ravel().tolist()}
        ]
    }  # fmt: skip


def post(client: httpx.Client, path: str, body: dict) -> dict:
    response = client.post(path, json=body)
    response.raise_for_status()
    return response.json()


@contextmanager
def asking(url: str, image: np.ndarray) -> Iterator[Counter[str]]:
    """Asks all the time, by several clients; counts which version answered, or what failed."""
    answered: Counter[str] = Counter()
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            for i in range(1 << 30):
                if stop.is_set():
                    return
                try:
                    said = post(client, "/v2/models/digits/infer", tensors(image[i % len(image)]))
                    answered[f"version {said['model_version']}"] += 1
                except httpx.HTTPError as e:
                    answered[f"FAILED {type(e).__name__}: {e}"] += 1
                time.sleep(0.01)  # or the commands that move the alias would hardly run

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield answered
    finally:
        stop.set()
        for client in clients:
            client.join()
    if any(key.startswith("FAILED") for key in answered):
        sys.exit(f"requests failed: {describe(answered)}")


def expect_version(answered: Counter[str], version: str, move: Callable[[], None]) -> None:
    """Moves the alias, and waits until the version answers."""
    move()
    there, began = answered[f"version {version}"], time.monotonic()
    while answered[f"version {version}"] == there:
        if time.monotonic() > began + 30:
            sys.exit(f"version {version} did not take over: {describe(answered)}")
        time.sleep(0.05)
    print(f"version {version} answers {time.monotonic() - began:.1f} s after that", flush=True)


def describe(answered: Counter[str]) -> str:
    return ", ".join(f"{count:,} requests by {what}" for what, count in sorted(answered.items()))


if __name__ == "__main__":
    main()
