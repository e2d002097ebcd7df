"""OpenTelemetry spans, sent by OTLP over HTTP. Off, and not imported, unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

A trace is passed on as text, the W3C `traceparent`: from caller to service, from request to batch, and with the stored
order to the process that handles it later. So there is no current span.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from services.common.settings import SettingsError

if TYPE_CHECKING:  # an extra, and slow to load
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenTelemetrySpan
    from opentelemetry.trace import SpanContext

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""OpenTelemetry's own variables; its other settings apply, too."""

Kind = Literal["server", "client", "consumer", "internal"]

_provider: "TracerProvider | None" = None


class Span:
    """A timed operation. `traceparent` is passed on to the work it causes."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: "OpenTelemetrySpan") -> None:
        self._span = span
        self.traceparent = _text(span.get_span_context())

    def set_attributes(self, **attributes: str | float | bool) -> None:
        """Set attributes; the keyword `http__route` is the attribute `http.route`."""
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("__", "."), value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, why: str) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see above

        self._span.set_status(StatusCode.ERROR, why)

    def end(self) -> None:
        self._span.end()


def configure(service: str, replica: str, environ: Mapping[str, str]) -> None:
    """Start to send spans, if `environ` names an endpoint. Raises SettingsError if OpenTelemetry is missing."""
    global _provider  # noqa: PLW0603 - one process, one destination, as with logging
    if not any(environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - see above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - see above
    except ImportError as error:
        name = next(name for name in ENDPOINTS if environ.get(name))
        raise SettingsError(f"{name} is set, but not OpenTelemetry installed: it is Valerix' extra `otel`") from error
    resource = Resource.create({"service.name": f"valerix-{service}", "service.instance.id": replica})
    _provider = TracerProvider(resource=resource)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def close() -> None:
    """Send pending spans."""
    if _provider is not None:
        _provider.shutdown()


def is_on() -> bool:
    return _provider is not None


def start_span(name: str, kind: Kind, *traceparents: str | None) -> Span | None:
    """Start a span in the first of the given traces, linked to the others; None if tracing is off."""
    if _provider is None:
        return None
    from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context  # noqa: PLC0415 - see above

    contexts = [_context(text) for text in traceparents if text]
    parent = set_span_in_context(NonRecordingSpan(contexts[0])) if contexts else None
    return Span(
        _provider.get_tracer("valerix").start_span(
            name, context=parent, kind=SpanKind[kind.upper()], links=[Link(one) for one in contexts[1:]]
        )
    )


@contextmanager
def span(name: str, kind: Kind, traceparents: Iterable[str | None]) -> Iterator[Span | None]:
    """Run the block in a span, which fails if the block raises; yields None if tracing is off."""
    if (started := start_span(name, kind, *traceparents)) is None:
        yield None
        return
    try:
        yield started
    except Exception as error:
        started.fail(type(error).__name__)
        raise
    finally:
        started.end()


def _text(context: "SpanContext") -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _context(text: str) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - see above

    _, trace_id, span_id, flags = text.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
