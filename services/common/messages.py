"""Refusals of HTTP/1.1 messages, sent by the connection before the application sees the request."""

import contextvars
import os
from collections.abc import Sequence

from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from services.common import problems, request_context
from services.common.middleware import SECURITY_HEADERS
from services.common.refusals import Refusal

REFUSED = Counter("http_messages_refused", "Messages answered without reaching the application", ["status"])


class InvalidMessage(Refusal):
    """RFC 9112: a message that is malformed, or has an ambiguous length."""

    slug, status, title = "invalid-request", 400, "The request is malformed"


class RequestTimeout(Refusal):
    slug, status, title = "request-timeout", 408, "The request did not arrive in time"


class HeadTooLarge(Refusal):
    """RFC 6585, section 5. Trailer fields and the framing of chunks count like header fields."""

    slug, status, title = "head-too-large", 431, "The header fields are too large"


class NotImplementedHere(Refusal):
    """RFC 9112, section 6.1, for a transfer coding; RFC 9110, section 9.3.6, for CONNECT."""

    slug, status, title = "not-implemented", 501, "Not implemented"


class TooManyConnections(Refusal):
    slug, status, title = "too-many-connections", 503, "This process has as many connections as it may have"


def answer(refusal: Refusal, default_headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the whole response: a problem document; the connection is closed after it."""
    REFUSED.labels(refusal.status).inc()
    return contextvars.copy_context().run(_answer, refusal, default_headers)


def _answer(refusal: Refusal, default_headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    request_id = os.urandom(16).hex()
    request_context.request_id.set(request_id)
    request_context.traceparent.set(None)
    problem = problems.document(refusal.status, refusal.slug, refusal.title, refusal.detail, refusal.members)
    headers = [
        *default_headers,
        *SECURITY_HEADERS,
        *((name.encode(), value.encode()) for name, value in refusal.headers.items()),
        (b"content-type", problems.PROBLEM_JSON.encode()),
        (b"content-length", str(len(problem.content)).encode()),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    head = b"".join(b"%s: %s\r\n" % header for header in headers)
    return b"".join((STATUS_LINE[refusal.status], head, b"\r\n", problem.content))
