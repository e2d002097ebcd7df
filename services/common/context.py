"""What belongs to the request being served, for whoever logs, refuses or calls on its behalf."""

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The W3C trace context, `00-<trace id>-<span id>-<flags>` in lower-case hexadecimal, that it came with, if any."""


def trace_id(of: str) -> str:
    """The 32 digits of a trace context that name the trace."""
    return of[3:35]
