"""Keeps a sample of the requests, where that is asked for: in a thread, out of the answers' way."""

import hashlib
import os
import queue
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..batches.sizes import Arrays
from .logs import log_event
from .requests import KeptBundle, KeptRequest, KeptRequests, utc_now

if TYPE_CHECKING:
    from ..live.served import ServedModel

MOST_WAITING = 64 << 20
"""Bytes of requests that wait to be written; more are not kept."""

MOST_LABELLED, MOST_LABELLED_BYTES = 10_000, 256 << 20
"""Requests with labels that are read when a server starts, and the bytes of their files."""

PRUNE_SECONDS = 600.0
"""How often old requests are deleted."""


@dataclass(frozen=True)
class KeepingRules:
    """Which requests are kept, and for how long."""

    share: float = 0.1
    """Of the requests, by the digest of their ids."""
    days: int = 30
    """Days after which a request is deleted."""
    most_bytes: int = 1 << 30
    """Bytes of all files together, above which the oldest requests are deleted."""

    def takes(self, request_id: str) -> bool:
        """Tells whether a request is kept: always the same for an id."""
        digest = hashlib.sha256(f"kept\0{request_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64


class RequestKeeper:
    """An observer that writes requests into a folder.

    Args:
      registry: of Prometheus, to which the numbers of the folder are added.
    """

    def __init__(self, kept: KeptRequests, rules: KeepingRules, registry: Any):
        from prometheus_client import Counter, Gauge

        self._kept, self._rules = kept, rules
        self._written = Counter("lepton_kept_requests", "Requests written", registry=registry)
        self._lost = Counter(
            "lepton_kept_requests_lost", "Requests of the sample not written", registry=registry
        )
        self._bytes = Gauge("lepton_kept_bytes", "Bytes of kept requests", registry=registry)
        self._queue: queue.SimpleQueue[KeptRequest | threading.Event] = queue.SimpleQueue()
        self._lock, self._waiting = threading.Lock(), 0
        self._bundles: dict[str, KeptBundle] = {}
        self._thread = threading.Thread(target=self._work, name="kept requests", daemon=True)
        self._thread.start()

    def observe(
        self,
        served: "ServedModel",
        request_id: str,
        inputs: Arrays,
        outputs: Arrays,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Lets a request be written, if it is of the sample."""
        if not self._rules.takes(request_id):
            return
        bundle = served.bundle
        request = KeptRequest(
            request_id, utc_now(), served.name, served.version, bundle.id, bundle.program,
            inputs, outputs, parameters,
        )  # fmt: skip
        with self._lock:
            if self._waiting + request.nbytes > MOST_WAITING:
                self._lost.inc()
                return
            self._waiting += request.nbytes
        self._bundles.setdefault(
            bundle.id, KeptBundle(bundle.id, tuple(bundle.labels), bundle.signature["inputs"])
        )
        self._queue.put(request)

    def find(self, request_id: str) -> KeptRequest | None:
        """Reads a kept request; None where it is not kept. Waits for those before it.

        Raises:
          ValueError: when its file is damaged.
        """
        self._settle()
        return self._kept.find(request_id)

    def newest(
        self, model: str, version: str, most: int, *, of_texts: bool
    ) -> Iterator[KeptRequest]:
        """Yields what was kept last of a version, the newest first, of so many files of all models:
        requests of texts, or all others. What is damaged is left out.
        """
        for path in self._kept.newest(most):
            with suppress(ValueError):
                request = self._kept.read(path)
                is_of_texts = request.parameters is not None
                if (request.model, request.version, is_of_texts) == (model, version, of_texts):
                    yield request

    def classes(self, bundle: str) -> tuple[str, ...]:
        """Returns the names of the classes of a bundle, by its id. Raises `ValueError`."""
        return self._kept.bundle(bundle).labels

    def labelled(self) -> Iterator[tuple[KeptRequest, tuple[str, ...]]]:
        """Yields the requests whose labels were told last, in that order, each with the names of
        its classes. What is damaged is left out.
        """
        classes: dict[str, tuple[str, ...]] = {}
        for path in self._kept.labelled(MOST_LABELLED, MOST_LABELLED_BYTES):
            with suppress(ValueError):
                request = self._kept.read(path)
                if request.bundle not in classes:
                    classes[request.bundle] = self.classes(request.bundle)
                yield request, classes[request.bundle]

    def label(self, request_id: str, labels: Sequence[str | None]) -> bool:
        """Keeps the true labels of a request. Returns whether the request is kept."""
        self._settle()
        return self._kept.label(request_id, labels)

    def delete(self, request_id: str) -> bool:
        """Deletes a request and its labels. Returns whether it was there."""
        self._settle()
        return self._kept.delete(request_id)

    def close(self) -> None:
        """Writes what waits."""
        self._settle()

    def _settle(self) -> None:
        """Waits until all that was observed before is written."""
        done = threading.Event()
        self._queue.put(done)
        done.wait()

    def _work(self) -> None:
        pruned, size = -PRUNE_SECONDS, 0
        while True:
            if time.monotonic() > pruned + PRUNE_SECONDS or size > self._rules.most_bytes:
                size, pruned = self._prune(), time.monotonic()
                self._bytes.set(size)
            try:
                item = self._queue.get(timeout=PRUNE_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, threading.Event):
                item.set()
                continue
            size += self._write(item)
            self._bytes.set(size)
            with self._lock:
                self._waiting -= item.nbytes

    def _write(self, request: KeptRequest) -> int:
        try:
            self._kept.write_bundle(self._bundles[request.bundle])
            size = self._kept.write(request)
        except Exception as e:  # noqa: BLE001  a full disk takes no answer away
            self._lost.inc()
            said = f"{type(e).__name__}: {e!s:.200}"
            log_event("a request was not kept", request_id=request.id, why=said)
            return 0
        self._written.inc()
        return size

    def _prune(self) -> int:
        """Deletes what is too old or too much. Returns the bytes that are left."""
        # Below the bound by a tenth, so that not every request deletes another.
        try:
            return self._kept.prune(self._rules.days, self._rules.most_bytes * 9 // 10)
        except OSError as e:
            log_event("old requests were not deleted", why=f"{type(e).__name__}: {e!s:.200}")
            return 0


def open_keeper(folder: str, rules: KeepingRules, registry: Any) -> RequestKeeper | None:
    """Returns what keeps requests in a folder, which is made; None of ''.

    Raises:
      OSError: when nothing can be written there.
    """
    if not folder:
        return None
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return RequestKeeper(KeptRequests(folder), rules, registry)
