"""Requests a second of the server, beside LitServe and MLServer, and what it adds to the program.

    python -m benchmarks.serving [--rounds=5] [--seconds=3] [--peers=runs/peers]

All serve the ONNX program of cifar10_cnn at its full size (drawn weights: what is measured does not
depend on them), on one machine, and are asked turn about by `wrk`, which must be installed, with 1,
8 and 64 clients. Each peer is measured in several settings, and the best one counts. Their
environments are made below --peers at the first use. Prints a table in Markdown and writes
docs/results/serving.json.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax import api
from lepton_jax.cluster.wire import free_port
from lepton_jax.serving.loader import ONNX, open_onnx, read_object

ROOT = Path(__file__).parent.parent
PEERS = {
    "litserve": ("litserve", "onnxruntime"),
    "mlserver": ("mlserver", "onnxruntime", "uvloop<0.22"),  # newer ones end its workers
}
CLIENTS = (1, 8, 64)
JSON = (("Content-Type", "application/json"),)
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@dataclass(frozen=True)
class Target:
    """A server that answers, and the request that it is asked."""

    name: str
    setting: str
    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Load:
    """What `wrk` measured."""

    rate: float
    """Requests a second that were answered well."""
    p99: float
    """Milliseconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--peers", default="runs/peers")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("benchmarks.serving: install wrk, which asks the servers")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        bundle = export_cnn(Path(folder))
        pythons = {name: make_environment(Path(arguments.peers), name) for name in PEERS}
        rows: list[dict[str, Any]] = []
        for form in ("json", "binary"):
            targets = [start(running) for start in starters(bundle, pythons, form)]
            for clients in CLIENTS:
                rows += measure(targets, form, clients, arguments.rounds, arguments.seconds)
            running.pop_all().close()
        overhead = measure_overhead(bundle)
    print_table(rows, overhead)
    found = {"rows": rows, "overhead_ms_at_1": overhead}
    (ROOT / "docs/results/serving.json").write_text(json.dumps(found, indent=1) + "\n")


def export_cnn(folder: Path) -> Path:
    """Exports cifar10_cnn at its full size, and returns the bundle's folder."""
    api.train(
        f"{ROOT}/configs/cifar10_cnn.py:tiny",
        str(folder / "run"),
        overrides={"model.features": (32, 64), "train_for": "1 steps"},
    )
    api.export(str(folder / "run"), str(folder / "cnn"))
    api.verify(str(folder / "cnn"))
    return folder / "cnn"


def make_environment(folder: Path, name: str) -> Path:
    """Returns the Python of a peer's environment, which is made where it is absent."""
    python = folder / name / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
        install = [python, "-m", "pip", "install", "--quiet", *PEERS[name]]
        subprocess.run(install, check=True)
    return python.absolute()


def starters(
    bundle: Path, pythons: Mapping[str, Path], form: str
) -> list[Callable[[contextlib.ExitStack], Target]]:
    """Returns what starts each server, for requests in JSON or with an image's bytes."""
    signature = read_object(bundle, "signature.json")
    (field,) = signature["inputs"]
    said = {"name": field, "shape": [1, *IMAGE.shape], "datatype": "UINT8"}
    in_json = json.dumps({"inputs": [{**said, "data": IMAGE.ravel().tolist()}]}).encode()
    v2, v2_headers = in_json, JSON
    lit = json.dumps({"image": IMAGE.ravel().tolist()}).encode()
    if form == "binary":
        parameters = {"binary_data_size": IMAGE.nbytes}
        asked = {
            "inputs": [{**said, "parameters": parameters}],
            "parameters": {"binary_data_output": True},
        }
        head = json.dumps(asked).encode()
        v2 = head + IMAGE.tobytes()
        v2_headers = (("Inference-Header-Content-Length", str(len(head))),)
        lit = json.dumps({"bytes": base64.b64encode(IMAGE.tobytes()).decode()}).encode()

    def ours(running: contextlib.ExitStack) -> Target:
        port = free_port()
        line = [sys.executable, str(ROOT / "launch.py"), "serve", f"--bundle={bundle}"]
        running.enter_context(server([*line, f"--port={port}"], f"{port}/v2/health/ready"))
        url = f"http://127.0.0.1:{port}/v2/models/{bundle.name}/infer"
        return Target("lepton_jax", "", url, v2, v2_headers)

    def litserve(batch: int, workers: int) -> Callable[[contextlib.ExitStack], Target]:
        def start(running: contextlib.ExitStack) -> Target:
            port = free_port()
            script = str(ROOT / "benchmarks/peers/lit_server.py")
            line = [str(pythons["litserve"]), script, str(bundle / ONNX), str(port)]
            running.enter_context(server([*line, str(batch), str(workers)], f"{port}/health"))
            setting = f"batch {batch}, {workers} workers"
            return Target("LitServe", setting, f"http://127.0.0.1:{port}/predict", lit, JSON)

        return start

    def mlserver(batch: int, workers: int) -> Callable[[contextlib.ExitStack], Target]:
        def start(running: contextlib.ExitStack) -> Target:
            port = free_port()
            folder = bundle.parent / f"mlserver_{batch}_{workers}"
            write_mlserver(folder, bundle / ONNX, port, batch, workers)
            line = [str(pythons["mlserver"].with_name("mlserver")), "start", str(folder)]
            running.enter_context(server(line, f"{port}/v2/models/cnn/ready", folder))
            setting = f"batch {batch}, {workers} workers"
            body = in_json.replace(field.encode(), b"image")
            url = f"http://127.0.0.1:{port}/v2/models/cnn/infer"
            return Target("MLServer", setting, url, body, JSON)

        return start

    settings = [litserve(1, 1), litserve(32, 1), litserve(1, 2)]
    if form == "json":  # MLServer takes tensors in JSON alone
        settings += [mlserver(1, 0), mlserver(32, 0), mlserver(1, 1)]
    return [ours, *settings]


def write_mlserver(folder: Path, model: Path, port: int, batch: int, workers: int) -> None:
    """Writes the settings of MLServer, with the runtime beside them."""
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "benchmarks/peers/ml_runtime.py", folder)
    settings: dict[str, Any] = {"http_port": port, "grpc_port": free_port(), "host": "127.0.0.1"}
    settings |= {"metrics_port": free_port(), "parallel_workers": workers, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    named: dict[str, Any] = {"name": "cnn", "implementation": "ml_runtime.Cnn"}
    named["parameters"] = {"uri": str(model)}
    if batch > 1:
        named |= {"max_batch_size": batch, "max_batch_time": 0.001}
    (folder / "model-settings.json").write_text(json.dumps(named))


@contextlib.contextmanager
def server(line: Sequence[str], ready: str, folder: Path | None = None) -> Iterator[None]:
    """Runs a server, in a folder, and waits until it says that it is ready."""
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0, cwd=folder
    ) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{ready}", timeout=1)
                    break
                if process.poll() is not None:
                    sys.exit(f"benchmarks.serving: it did not start: {' '.join(line)}")
                time.sleep(0.1)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def measure(
    targets: Sequence[Target], form: str, clients: int, rounds: int, seconds: int
) -> list[dict[str, Any]]:
    """Asks the servers turn about; returns one row a server, of its best setting."""
    loads: dict[Target, list[Load]] = {t: [] for t in targets}
    for round_ in range(rounds):
        for target in targets if round_ % 2 else reversed(targets):
            loads[target].append(ask(target, clients, seconds))
    rates = {t: statistics.median(x.rate for x in found) for t, found in loads.items()}
    best: dict[str, Target] = {}
    for target in targets:
        if target.name not in best or rates[target] > rates[best[target.name]]:
            best[target.name] = target
    ours = best["lepton_jax"]
    rows = []
    for name, target in best.items():
        pairs = zip(loads[ours], loads[target], strict=True)
        rows.append(
            {
                "form": form,
                "clients": clients,
                "server": name,
                "setting": target.setting,
                "requests_a_second": round(rates[target]),
                "p99_ms": round(statistics.median(x.p99 for x in loads[target]), 2),
                "ours_over_it": round(statistics.median(a.rate / b.rate for a, b in pairs), 2),
            }
        )
    return rows


def ask(target: Target, clients: int, seconds: int) -> Load:
    """Lets `wrk` ask a server for some seconds. Every answer must be good."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "ask.lua")
        body.write_bytes(target.body)
        headers = "".join(f'wrk.headers["{k}"] = "{v}"\n' for k, v in target.headers)
        opened = f'local f = io.open("{body}", "rb")\nwrk.body = f:read("*a")\nf:close()\n'
        script.write_text(f'wrk.method = "POST"\n{headers}{opened}')
        line = [
            "wrk",
            "-t1",
            f"-c{clients}",
            f"-d{seconds}s",
            "--latency",
            "--timeout=20s",
            "-s",
            str(script),
        ]
        said = subprocess.run([*line, target.url], capture_output=True, text=True, check=True)
    if wrong := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", said.stdout):
        sys.exit(f"benchmarks.serving: {target.name} ({target.setting}): {wrong[0]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said.stdout)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said.stdout)
    assert rate is not None
    assert p99 is not None
    return Load(float(rate[1]), float(p99[1]) * {"us": 1e-3, "ms": 1, "s": 1e3}[p99[2]])


def measure_overhead(bundle: Path) -> float:
    """Returns the milliseconds that a request of one image takes more than the bare program."""
    import http.client

    said = read_object(bundle, "signature.json")["programs"]["onnx"]
    program, inputs = open_onnx(bundle, said), {"image": IMAGE[None]}

    def bare() -> float:
        start = time.perf_counter()
        for _ in range(50):
            program(inputs)
        return (time.perf_counter() - start) / 50

    with contextlib.ExitStack() as running:
        target = starters(bundle, {}, "binary")[0](running)
        port, path = target.url.split(":")[2].split("/", 1)
        connection = http.client.HTTPConnection("127.0.0.1", int(port))

        def served() -> float:
            start = time.perf_counter()
            for _ in range(50):
                connection.request("POST", f"/{path}", target.body, dict(target.headers))
                connection.getresponse().read()
            return (time.perf_counter() - start) / 50

        for side in (bare, served):
            side()
        return round(1e3 * statistics.median(served() - bare() for _ in range(15)), 3)


def print_table(rows: Sequence[Mapping[str, Any]], overhead: float) -> None:
    """Prints a line a server, by the form of the request and the number of clients."""
    print("| form | clients | server | requests/s | p99, ms | lepton_jax over it |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        name = f"{row['server']}, {row['setting']}".removesuffix(", ")
        speeds = f"{row['requests_a_second']:,} | {row['p99_ms']} | {row['ours_over_it']:.2f}"
        print(f"| {row['form']} | {row['clients']} | {name} | {speeds} |")
    print(f"\nA request of one image takes {overhead:.2f} ms more than the bare program.")


if __name__ == "__main__":
    main()
