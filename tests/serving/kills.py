"""Kills a server, again and again, while clients ask: `python -m tests.serving.kills`.

A supervisor starts the server again whenever it ends, as Kubernetes or systemd would. Clients ask
again where a connection breaks. Each must get an answer to each of its questions, with the bytes
that the server gave before the first kill; and what was kept of the requests must be whole.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from lepton_jax.data.sources.digits import digits
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.verify import verify_bundle
from lepton_jax.serving.observed.requests import KeptRequests
from tests import graduation

CLIENTS = 8
PAUSE = 0.02
"""Seconds between two tries of a client."""
MOST_TRIES = 5_000


class Supervisor:
    """Runs a server on one port, and starts it again whenever it ends."""

    def __init__(self, bundle: Path, kept: Path, port: int):
        flags = [f"--bundle=digits={bundle}", f"--port={port}"]
        flags += [f"--keep_requests={kept}", "--keep_share=1"]
        self._line = [sys.executable, "-m", "lepton_jax.serving", *flags]
        self._ends = threading.Event()
        self._start()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _start(self) -> None:
        self.process = subprocess.Popen(self._line, stderr=subprocess.DEVNULL)

    def _watch(self) -> None:
        while True:
            self.process.wait()
            if self._ends.is_set():
                return
            self._start()

    def processor_seconds(self) -> float:
        """Returns what the server that runs now has taken of a processor."""
        said = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends the server for good, as it is told to end."""
        self._ends.set()
        self.process.send_signal(signal.SIGTERM)
        self._thread.join()


@dataclass
class Load:
    """What clients asked and got."""

    url: str
    expected: bytes
    """The answer to every question."""
    answered: int = 0
    retried: int = 0
    wrong: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask_until_stopped(self, client: int) -> None:
        """Asks one question after the other, each until it is answered."""
        number = 0
        with httpx.Client(base_url=self.url) as connection:
            while not self.stop.is_set():
                number += 1
                name = f"client{client}-{number}"
                answer, tries = ask_until_answered(connection, name)
                with self.lock:
                    self.answered += 1
                    self.retried += tries - 1
                    if answer != self.expected:
                        self.wrong.append(f"{name}: {answer[:200]!r}")


def ask_until_answered(connection: httpx.Client, name: str) -> tuple[bytes, int]:
    """Asks for the answer to one image, and again where the connection breaks or the server has
    too much to do. Returns the answer, and how often it was asked for.
    """
    for tries in range(1, MOST_TRIES):
        with suppress(httpx.TransportError):
            answer = connection.post(
                "/v2/models/digits/infer", content=QUESTION, headers={"x-request-id": name}
            )
            if answer.status_code != 503:
                return answer.content, tries
        time.sleep(PAUSE)
    raise AssertionError(f"{name} is not answered")


def make_question() -> bytes:
    image = np.asarray(digits().splits["test"].columns["image"][0])
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, *image.shape]}
    return json.dumps({"id": "q", "inputs": [{**tensor, "data": image.ravel().tolist()}]}).encode()


QUESTION = make_question()


def survive_kills(bundle: Path, kept: Path, kills: int) -> tuple[Load, list[tuple[float, float]]]:
    """Kills a server so many times under load.

    Returns the load, and for each kill the seconds to the next answer: by the clock, and those that
    the new server took of a processor, which other work on the machine does not change.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    supervisor, url = Supervisor(bundle, kept, port), f"http://127.0.0.1:{port}"
    own = httpx.Client(base_url=url)
    load = Load(url, ask_until_answered(own, "first")[0])
    clients = [threading.Thread(target=load.ask_until_stopped, args=(i,)) for i in range(CLIENTS)]
    for client in clients:
        client.start()
    seconds = []
    try:
        for i in range(kills):
            time.sleep(0.3 + 0.1 * (i % 4))
            supervisor.process.kill()
            began = time.monotonic()
            ask_until_answered(own, f"after-{i}")
            seconds.append((time.monotonic() - began, supervisor.processor_seconds()))
    finally:
        load.stop.set()
        for client in clients:
            client.join()
        own.close()
        supervisor.close()
    return load, seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.serving.kills", description=__doc__)
    parser.add_argument("kills", nargs="?", type=int, default=10)
    kills = parser.parse_args().kills
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder))
        kept = KeptRequests(Path(folder) / "kept")
        load, seconds = survive_kills(bundle, kept.folder, kills)
        requests = [kept.read(file) for file in kept]  # each is whole, or this fails
    print(
        f"{kills} kills, {CLIENTS} clients: {load.answered:,} questions, all answered; "
        f"{load.retried:,} times asked again; {len(load.wrong)} answers with other bytes"
    )
    print(f"{len(requests):,} requests are kept, all of them whole")
    for name, values in zip(("by the clock", "of a processor"), np.transpose(seconds), strict=True):
        print(
            f"from the kill to the next answer, {name}: median {np.median(values):.2f} s, longest "
            f"{max(values):.2f} s"
        )
    if load.wrong:
        sys.exit("\n".join(load.wrong[:5]))


def make_bundle(folder: Path) -> Path:
    """Makes the verified bundle of a small model of the digits."""
    os.environ["LEPTON_JAX_CACHE"] = str(folder / "cache")
    export_bundle(graduation.trained_run(folder / "run"), str(folder / "bundle"))
    verdict = verify_bundle(str(folder / "bundle"))
    if not verdict.ok:
        sys.exit(str(verdict))
    return folder / "bundle"


if __name__ == "__main__":
    main()
