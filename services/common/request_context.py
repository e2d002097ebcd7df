"""Context variables of the current request, for logs, problems and outgoing calls."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The request's W3C trace context, if any: `00-<trace id>-<span id>-<flags>` in lower-case hexadecimal."""


def trace_id(of: str) -> str:
    """Return the trace id (32 digits) of a trace context."""
    return of[3:35]
