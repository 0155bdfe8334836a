"""Spans of OpenTelemetry: what a collector of its protocol receives."""

import gzip
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.graduation import verified_bundle
from tests.serving.running import run_bundles

pytest.importorskip("opentelemetry.sdk")


class Collector(HTTPServer):
    """Takes spans over HTTP, in protobuf."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Taking)
        self.spans = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        said = ExportTraceServiceRequest.FromString(body)
        for resource in said.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans += list(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_each_request_is_a_span_of_the_trace_that_the_client_began(tmp_path, tmp_path_factory):
    bundle = verified_bundle(tmp_path_factory)
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    trace = "0af7651916cd43dd8448eb211c80319c"
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with run_bundles(tmp_path, f"--bundle=digits={bundle}", **environment) as server:
        parent = f"00-{trace}-b7ad6b7169203331-01"
        server.client.get("/v2/models/digits", headers={"traceparent": parent})
        server.client.post("/v2/models/digits/infer", content=b"no JSON")
        server.stop()
    collector.shutdown()
    found = {span.name: span for span in collector.spans}
    assert found.keys() == {"describe_model", "infer"}
    assert found["describe_model"].trace_id.hex() == trace
    assert found["infer"].trace_id.hex() != trace
    said = {a.key: a.value for a in found["infer"].attributes}
    assert said["http.response.status_code"].int_value == 400
    assert said["lepton.model"].string_value == "digits"
    assert found["infer"].end_time_unix_nano > found["infer"].start_time_unix_nano
