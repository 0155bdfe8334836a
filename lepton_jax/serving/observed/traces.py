"""A span for each request in OpenTelemetry, where its environment variables ask for that."""

import os
import time
from collections.abc import Mapping
from typing import Any

from ..errors import BundleError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own names; what else it knows, such as OTEL_SERVICE_NAME, counts too."""


class RequestTraces:
    """Sends a span for each request, from a thread of its own."""

    def __init__(self) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider()
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("lepton_serving")
        self._propagator = TraceContextTextMapPropagator()

    def write(
        self, name: str, parent: str, seconds: float, failed: bool, attributes: Mapping[str, Any]
    ) -> None:
        """Writes the span of a request that has just ended.

        Args:
          parent: the request's header traceparent; '' where it has none.
        """
        from opentelemetry.trace import SpanKind, Status, StatusCode

        end = time.time_ns()
        span = self._tracer.start_span(
            name or "unknown route",
            self._propagator.extract({"traceparent": parent} if parent else {}),
            SpanKind.SERVER,
            dict(attributes),
            start_time=end - int(seconds * 1e9),
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def close(self) -> None:
        """Sends what has not been sent yet."""
        self._provider.shutdown()


def open_traces() -> RequestTraces | None:
    """Returns where spans go, if the environment says so.

    Raises:
      BundleError: when it does, and OpenTelemetry is not installed.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        return RequestTraces()
    except ImportError:
        raise BundleError(
            f"{ENDPOINTS[1]} is set, which needs the packages opentelemetry-sdk and "
            "opentelemetry-exporter-otlp-proto-http"
        ) from None
