"""JSON lines on stderr: one event each, stable keys, control characters escaped, no bodies."""

import json
import logging
import re
import sys
from typing import Any

import structlog

from services.common import request_context

_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that JSON allows unescaped, but that are unsafe for terminals, line readers or UTF-8."""


def configure(service: str, replica: str, level: str) -> None:
    """Send structlog and the standard library's warnings through one JSON renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Origin(service, replica),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_dump),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    server = logging.getLogger("uvicorn.error")
    server.setLevel(logging.ERROR)  # lower levels report every client that does not speak HTTP
    server.addFilter(_is_unintended)


def _is_unintended(record: logging.LogRecord) -> bool:
    """Return False for the errors of responses that are cut off on purpose; every other error is a bug."""
    return "without completing response" not in str(record.msg)


class _Origin:
    """Adds the service, the replica and the request to each event."""

    def __init__(self, service: str, replica: str) -> None:
        self._origin = {"service": service, "replica": replica}

    def __call__(self, _logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.update(self._origin)
        if "request_id" not in event and (request_id := request_context.request_id.get()):
            event["request_id"] = request_id
        if "trace_id" not in event and (traceparent := request_context.traceparent.get()):
            event["trace_id"] = request_context.trace_id(traceparent)
        return event


def _dump(event: Any, **_: Any) -> str:
    """Render one line of JSON. No input from clients can add a second line, whatever the reader's line separators."""
    return _UNSAFE.sub(_escape, json.dumps(event, default=str, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
