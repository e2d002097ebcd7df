"""Traces of the orders that the command line sends: one for each, with a span if OpenTelemetry is configured."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an extra, and slow to load
    from opentelemetry.trace import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@contextmanager
def client_span(name: str) -> Iterator[str]:
    """Yield the `traceparent` (W3C) of a new span; it is exported after the block, if an exporter is configured."""
    if (tracer := _tracer()) is None:
        yield f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - see above

    with tracer.start_as_current_span(name, kind=SpanKind.CLIENT) as span:
        found = span.get_span_context()
        yield f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"


@cache
def _tracer() -> "Tracer | None":
    """Return the tracer; None without an endpoint or without the extra, since tracing is optional."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above
    except ImportError:
        return None
    provider = TracerProvider(resource=Resource.create({"service.name": "valerix-cli"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))  # flushes its queue at exit
    return provider.get_tracer("valerix")
