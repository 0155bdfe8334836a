"""A server in a process of its own, as a user starts it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SERVER = (sys.executable, "-m", "lepton_jax.serving")


@dataclass
class RunningServer:
    """A server that is ready; `address` is where it listens, `client` asks there."""

    process: subprocess.Popen[bytes]
    address: str
    client: httpx.Client
    log: Path

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """Reads what it has logged, whole lines."""
        lines = self.log.read_text().splitlines(keepends=True)
        read = [json.loads(x) for x in lines if x.startswith("{") and x.endswith("\n")]
        return [e for e in read if event in ("", e["event"])]

    def memory(self) -> int:
        """Bytes that the process holds in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (x for x in status.splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


def read_metric(server: RunningServer, name: str, **headers: str) -> float:
    """Adds up the numbers of /metrics whose lines begin so."""
    lines = server.client.get("/metrics", headers=headers).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@contextmanager
def run_bundles(
    folder: Path, *flags: str, start: Sequence[str] = SERVER, **environment: str
) -> Iterator[RunningServer]:
    """Runs a server on a free port until it is left; its log goes into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [*start, "--port=0", *flags], stderr=file, stdout=subprocess.DEVNULL,
            env=environment or None,
        )  # fmt: skip
    server = RunningServer(process, "", httpx.Client(), log)
    try:
        while not (ready := server.events("ready")):
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
        server.address = ready[0]["address"]
        with httpx.Client(base_url=server.address, timeout=30) as server.client:
            yield server
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)
