"""A server as a process of its own, as users start it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

LAUNCH = Path(__file__).parent.parent / "launch.py"


@dataclass
class RunningServer:
    """A process that serves at `address`; `events` are the lines of its log so far."""

    process: subprocess.Popen[str]
    address: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    def read_events(self) -> None:
        """Reads the log until the process ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                self.events.append(json.loads(line))


@contextmanager
def running_server(
    *flags: str, line: Sequence[str] = (sys.executable, str(LAUNCH), "serve"), **environment: str
) -> Iterator[RunningServer]:
    """Yields a server that is ready, on a free port; ends it by SIGTERM if the test did not.

    Args:
      line: what starts it; `flags` come behind.
    """
    process = subprocess.Popen(
        [*line, *flags, "--port=0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    server = RunningServer(process)
    assert process.stderr is not None
    said = []
    for text in process.stderr:
        said.append(text)
        event = json.loads(text) if text.startswith("{") else {}
        server.events += [event] if event else []
        if event.get("event") == "ready":
            server.address = event["address"]
            break
    assert server.address, "".join(said)
    reader = Thread(target=server.read_events)
    reader.start()
    try:
        yield server
    finally:
        process.terminate()
        process.wait(60)
        reader.join()
        process.stderr.close()
