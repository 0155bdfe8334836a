"""An MLflow server in memory, in a thread of this process, that fails when it is told to."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, str]
"""A status and a body."""


class FakeMLflow:
    """What runs of one experiment have logged, and how the server fails.

    Args:
      fault: what `log-batch` with metrics answers instead; None: as a server does.
    """

    def __init__(self) -> None:
        self.uri = ""
        self.fault: Callable[[], Answer | None] | None = None
        self.everywhere = False
        """Whether every call fails so, and not only `log-batch`."""
        self.calls: list[str] = []
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, bytes] | None = {}
        """Files by their path; None: it takes none."""

    def history(self, run: str) -> dict[str, list[int]]:
        """Returns the steps that a run has of each metric."""
        return {k: [s for s, _ in v] for k, v in self.runs[run]["metrics"].items()}

    def answer(self, path: str, query: dict[str, Any]) -> Answer | None:
        """Answers one call; None: hangs up."""
        name = path.partition("mlflow/")[2]
        self.calls.append(name)
        if self.fault and (self.everywhere or (name == "runs/log-batch" and query.get("metrics"))):
            return self.fault()
        return 200, json.dumps(self._call(name, query))

    def _call(self, name: str, query: dict[str, Any]) -> Any:
        if name == "experiments/get-by-name":
            return {"experiment": {"experiment_id": "1", "name": "e", "lifecycle_stage": "active"}}
        if name == "runs/create":
            run = f"run{len(self.runs)}"
            self.runs[run] = {"metrics": {}, "params": {}, "status": "RUNNING", "stage": "active"}
            return {"run": self._run(run)}
        run = query.get("run_id", "")
        if name == "runs/get":
            return {"run": self._run(run)}
        if name == "runs/update":
            self.runs[run]["status"] = query.get("status", "RUNNING")
            return {"run_info": self._run(run)["info"]}
        if name == "runs/log-batch":
            for metric in query.get("metrics", ()):
                metrics = self.runs[run]["metrics"].setdefault(metric["key"], [])
                metrics.append((int(metric["step"]), metric["value"]))
            self.runs[run]["params"] |= {p["key"]: p["value"] for p in query.get("params", ())}
        if name == "metrics/get-history":
            key = query["metric_key"]
            return {
                "metrics": [
                    {"key": key, "step": s, "value": v, "timestamp": 1}
                    for s, v in self.runs[run]["metrics"][key]
                ]
            }
        return {}

    def _run(self, run: str) -> dict[str, Any]:
        kept = self.runs[run]
        latest = [
            {"key": k, "step": v[-1][0], "value": v[-1][1], "timestamp": 1}
            for k, v in kept["metrics"].items()
        ]
        params = [{"key": k, "value": v} for k, v in kept["params"].items()]
        info = {"run_id": run, "run_uuid": run, "experiment_id": "1", "status": kept["status"]}
        info |= {
            "lifecycle_stage": kept["stage"],
            "start_time": 1,
            "artifact_uri": f"mlflow-artifacts:/{run}",
        }
        return {"info": info, "data": {"metrics": latest, "params": params, "tags": []}}


@contextmanager
def serving() -> Iterator[FakeMLflow]:
    """Yields a server that listens."""
    fake = FakeMLflow()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def _go(self) -> None:
            from urllib.parse import parse_qsl, urlsplit

            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command == "PUT":
                return self._keep(body)
            query = json.loads(body) if body else dict(parse_qsl(urlsplit(self.path).query))
            answer = fake.answer(urlsplit(self.path).path, query)
            if answer is None:
                self.close_connection = True
                return
            self._say(*answer)

        def _keep(self, body: bytes) -> None:
            if fake.artifacts is not None:
                fake.artifacts[self.path.partition("/artifacts/")[2]] = body
            self._say(500 if fake.artifacts is None else 200, "{}")

        def _say(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = _go  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    fake.uri = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hang(seconds: float) -> Answer:
    """Answers late."""
    time.sleep(seconds)
    return 200, "{}"
