"""The numbers of a server for Prometheus."""

from typing import Any

from ..live.models import LiveNotes, Models
from ..live.served import ServedModel
from .logs import log_event

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The bounds of a histogram of seconds."""

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServerMetrics(LiveNotes):
    """Counts what a server does, and logs what happens to its models.

    `registry` is Prometheus' own: observers add their numbers to it.
    """

    def __init__(self) -> None:
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
            PlatformCollector,
            ProcessCollector,
            disable_created_metrics,
        )

        disable_created_metrics()

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        of: Any = {"registry": registry}
        self._requests = Counter(
            "lepton_requests", "Requests by route and status", ["route", "model", "code"], **of
        )
        self._seconds = Histogram(
            "lepton_request_seconds", "Time of a request", ["route"], buckets=SECONDS, **of
        )
        self._of_requests: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        """The numbers of a request, which take long to find by their labels."""
        self._rows = Histogram(
            "lepton_batch_rows", "Rows that were computed together", ["model"], buckets=ROWS, **of
        )
        self._computing = Counter(
            "lepton_compute_seconds", "Time in the program", ["model", "version"], **of
        )
        self._live = Gauge(
            "lepton_model_info", "1 of each version that answers",
            ["model", "version", "bundle", "program", "exact"], **of
        )  # fmt: skip
        self._loads = Counter("lepton_model_loads", "Versions loaded", ["model"], **of)
        self._failures = Counter(
            "lepton_model_load_failures", "Versions that could not be loaded", ["model"], **of
        )
        self._registry_up = Gauge(
            "lepton_registry_up", "1 where the registry answered last time", ["model"], **of
        )
        self._canaries = Counter("lepton_canary_ended", "Canaries that were ended", ["model"], **of)
        self._tokens = Counter(
            "lepton_tokens", "Tokens of texts that go on", ["model", "kind"], **of
        )
        self._first = Histogram(
            "lepton_first_token_seconds", "From a request to its first token", ["model"],
            buckets=SECONDS, **of
        )  # fmt: skip
        self._texts = Gauge("lepton_texts", "Texts that are written or wait", ["model", "is"], **of)
        self._queued = Gauge("lepton_queued_rows", "Rows that wait", ["model"], **of)

    def watch(self, models: Models) -> None:
        """Measures the queues of models, whenever the numbers are read."""
        for name in models.names:

            def queued(name: str = name) -> float:
                return float(sum(served.queued for served in models.versions(name)))

            self._queued.labels(name).set_function(queued)
            if not any(served.writer for served in models.versions(name)):
                continue

            def writing(name: str = name) -> float:
                writers = [s.writer for s in models.versions(name) if s.writer]
                return float(sum(writer.slots.writing for writer in writers))

            def waiting(name: str = name) -> float:
                return float(sum(s.writer.waiting for s in models.versions(name) if s.writer))

            self._texts.labels(name, "written").set_function(writing)
            self._texts.labels(name, "waiting").set_function(waiting)

    def request(self, route: str, model: str, status: int, seconds: float) -> None:
        """Counts a request."""
        counted = self._of_requests.get((route, model, status))
        if counted is None:
            counted = self._requests.labels(route, model, str(status)), self._seconds.labels(route)
            self._of_requests[route, model, status] = counted
        counted[0].inc()
        counted[1].observe(seconds)

    def began(self, model: str, prompt_tokens: int, seconds: float) -> None:
        """Counts the prompts of a request that has got its first token after so many seconds."""
        self._tokens.labels(model, "prompt").inc(prompt_tokens)
        self._first.labels(model).observe(seconds)

    def wrote(self, model: str, tokens: int) -> None:
        """Counts tokens that were written."""
        self._tokens.labels(model, "written").inc(tokens)

    def text(self) -> tuple[bytes, str]:
        """Returns all numbers as Prometheus reads them, and their content type."""
        from prometheus_client import generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def computed(self, served: ServedModel, rows: int, seconds: float) -> None:
        self._rows.labels(served.name).observe(rows)
        self._computing.labels(served.name, served.version).inc(seconds)

    def loaded(self, served: ServedModel) -> None:
        bundle = served.bundle
        self._live.labels(
            served.name, served.version, bundle.id, bundle.program, str(served.exact).lower()
        ).set(1)
        self._loads.labels(served.name).inc()
        log_event("loaded", **describe_version(served))

    def unloaded(self, served: ServedModel) -> None:
        bundle = served.bundle
        self._live.remove(
            served.name, served.version, bundle.id, bundle.program, str(served.exact).lower()
        )
        log_event("unloaded", **describe_version(served))

    def not_loaded(self, name: str, version: str, why: str) -> None:
        self._failures.labels(name).inc()
        log_event("not loaded", model=name, version=version, why=why)

    def asked(self, name: str, fault: str) -> None:
        self._registry_up.labels(name).set(0 if fault else 1)
        if fault:
            log_event("the registry is away; what is loaded goes on", model=name, why=fault)

    def canary_ended(self, name: str, version: str, why: str) -> None:
        self._canaries.labels(name).inc()
        log_event("the canary is ended", model=name, version=version, why=why)


def describe_version(served: ServedModel) -> dict[str, Any]:
    """Says which version this is, and how it computes."""
    return {
        "model": served.name,
        "version": served.version,
        "bundle": served.bundle.id,
        "program": served.bundle.program,
        "exact": served.exact,
        "sizes": served.sizes,
        "lengths": served.lengths,
    }
