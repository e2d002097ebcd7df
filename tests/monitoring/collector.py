"""A real OpenTelemetry collector (rotel) that forwards the spans it receives to a sink in memory."""

import gzip
import importlib.util
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import eventually
from valerix_cli.local.ports import free_port, is_free


@dataclass(frozen=True)
class Received:
    """A span. Ids are in hexadecimal; `links` are the ids of linked spans."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    links: frozenset[str]
    facts: dict[str, str]


@dataclass(frozen=True)
class Collector:
    """A running collector. `url` is its OTLP endpoint over HTTP; `spans` are those that it forwarded."""

    url: str
    spans: list[Received]

    def of(self, trace_id: str) -> list[Received]:
        return [span for span in self.spans if span.trace_id == trace_id]


@contextmanager
def collector(log: Path) -> Iterator[Collector]:
    spans: list[Received] = []

    class Sink(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            spans.extend(_decoded(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    port = free_port()
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Sink) as sink,
        log.open("wb") as output,
        subprocess.Popen(_command(port, sink.server_port), stdout=output, stderr=output) as agent,
    ):
        Thread(target=sink.serve_forever, daemon=True).start()
        try:
            eventually(lambda: not is_free(port), what="the collector listens")
            yield Collector(f"http://127.0.0.1:{port}", spans)
        finally:
            agent.terminate()
            sink.shutdown()


def _command(port: int, to: int) -> list[str]:
    package = importlib.util.find_spec("rotel")
    assert package is not None
    assert package.origin is not None
    return [
        str(Path(package.origin).with_name("rotel-agent")),
        "start",
        f"--otlp-http-endpoint=127.0.0.1:{port}",
        f"--otlp-grpc-endpoint=127.0.0.1:{free_port()}",
        "--exporter=otlp",
        f"--otlp-exporter-endpoint=http://127.0.0.1:{to}",
        "--otlp-exporter-protocol=http",
        "--batch-timeout=200ms",
    ]


def _decoded(body: bytes) -> Iterator[Received]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for resource in request.resource_spans:
        of = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    of.get("service.name", ""),
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    frozenset(link.span_id.hex() for link in span.links),
                    {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes},
                )
