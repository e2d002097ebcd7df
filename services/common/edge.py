"""The outermost layer of each service: request ids, security headers, timing. Sees unrouted paths too."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import structlog
from litestar import Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from services.common import body, context, methods, problems, tracing
from services.common.hosts import SAFE, HostPolicy
from services.common.shortcut import Shortcut, send_response
from services.common.telemetry import IN_FLIGHT, request_duration
from services.common.tracing import Span

log = structlog.get_logger()

REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
FOR_ALL = {"HEAD": methods.head, "OPTIONS": methods.options}
UNMEASURED = ("/health", "/metrics", "/feed")  # the last has no end, and so no duration

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]


class Edge:
    """Wraps a service's application. `at_stop` is called when the process is to stop: what has no end ends then.

    Refuses what is not for this service, what a web page of another origin sends, and encoded bodies, on every path.
    The endpoint of `straight`, whose answers are never streams, is answered with no ASGI between it and the connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Sequence[str] = (),
        straight: Shortcut | None = None,
        headers: Headers = SECURITY_HEADERS,
        at_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.app = app
        self._hosts = HostPolicy(allowed_hosts)
        self._headers = headers
        self._head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.straight = straight
        self.at_stop = at_stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"])
        request_id, span = _enter(scope, given)
        extra = [*self._headers, (b"x-request-id", request_id)]
        began = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        IN_FLIGHT.inc()
        try:
            if (refused := self._refuse(scope, given)) is not None:
                await send_response(refused, refused.content, send_with_headers)
            elif (for_all := FOR_ALL.get(scope["method"])) is not None:
                await for_all(self.app, scope, receive, send_with_headers)
            else:
                await self.app(scope, receive, send_with_headers)
        finally:
            IN_FLIGHT.dec()
            _note(scope, status, time.perf_counter() - began, span)

    async def answer(self, shortcut: Shortcut, scope: HTTPScope, content: bytes) -> tuple[Response[Any], bytes]:
        """The answer of the endpoint that goes straight, and the end of its head, which is every answer's."""
        given = dict(scope["headers"])
        request_id, span = _enter(scope, given)
        began = time.perf_counter()
        status = 500
        IN_FLIGHT.inc()
        try:
            answer = self._refuse(scope, given) or await shortcut.answer(scope, content)
            status = answer.status_code or 200
        finally:
            IN_FLIGHT.dec()
            _note(scope, status, time.perf_counter() - began, span)
        return answer, b"%sx-request-id: %s\r\n\r\n" % (self._head, request_id)

    def _refuse(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> Response[bytes] | None:
        """Return the problem of a request that no application may see."""
        refusal = self._hosts.refusal(scope, headers)
        if refusal is None and b"content-encoding" in headers and scope["method"] not in SAFE:
            refusal = body.encoding_refusal(value for name, value in scope["headers"] if name == b"content-encoding")
        return None if refusal is None else problems.of_refusal(None, refusal)


def _enter(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> tuple[bytes, Span | None]:
    """Begin with a request: the id it came with, or one of ours, is what whoever works for it will say."""
    request_id = _well_formed(headers.get(b"x-request-id"), REQUEST_ID) or os.urandom(16).hex()
    context.request_id.set(request_id)
    traceparent = _well_formed(headers.get(b"traceparent"), TRACEPARENT)
    span = None
    if tracing.is_on() and not scope["path"].startswith(UNMEASURED):
        span = tracing.begin(scope["method"], "server", traceparent)
        traceparent = span.traceparent if span else traceparent
    context.traceparent.set(traceparent)
    return request_id.encode(), span


def _well_formed(raw: bytes | None, pattern: re.Pattern[bytes]) -> str | None:
    return raw.decode() if raw is not None and pattern.fullmatch(raw) else None


def _note(scope: HTTPScope, status: int, seconds: float, span: Span | None) -> None:
    """Measure the request under its route template, never its path: labels do not come from callers."""
    if scope["path"].startswith(UNMEASURED):
        return
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    route = str(scope.get("path_template") or "unrouted")
    request_duration(method, route, status).observe(seconds)
    if span is not None:
        _end(span, method, route, status)
    if status >= 500:  # noqa: PLR2004 - HTTP's server errors
        log.warning("request failed", method=method, route=route, status=status, seconds=round(seconds, 4))


def _end(span: Span, method: str, route: str, status: int) -> None:
    """By OpenTelemetry's conventions for HTTP: the name is of the route, and a server's span fails with 5xx only."""
    span.rename(f"{method} {route}")
    span.note(
        http__request__method=method,
        http__route=route,
        http__response__status_code=status,
        valerix__request_id=context.request_id.get(),
    )
    if status >= 500:  # noqa: PLR2004 - HTTP's server errors
        span.fail(str(status))
    span.end()
