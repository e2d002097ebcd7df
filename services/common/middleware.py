"""The outermost ASGI middleware: request ids, security headers, metrics, tracing. Covers unrouted paths too."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import structlog
from litestar import Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from services.common import methods, problems, request_body, request_context, tracing
from services.common.fast_route import FastRoute, send_response
from services.common.hosts import SAFE, HostPolicy
from services.common.metrics import IN_FLIGHT, request_duration
from services.common.tracing import Span

log = structlog.get_logger()

REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
COMMON_METHODS = {"HEAD": methods.head, "OPTIONS": methods.options}
UNMEASURED = ("/health", "/metrics", "/feed")  # the last is an endless stream

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

SECURITY_HEADERS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]


class RequestMiddleware:
    """Wraps a service's application. `at_stop` is called at shutdown, to end streams.

    Refuses requests for other hosts, cross-origin changes, and encoded bodies, on every path. The endpoint of
    `fast_route`, which never streams, is served without ASGI.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Sequence[str] = (),
        fast_route: FastRoute | None = None,
        headers: Headers = SECURITY_HEADERS,
        at_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.app = app
        self._hosts = HostPolicy(allowed_hosts)
        self._headers = headers
        self._head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.fast_route = fast_route
        self.at_stop = at_stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"])
        request_id, span = _start_request(scope, given)
        extra = [*self._headers, (b"x-request-id", request_id)]
        started = time.perf_counter()
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
            elif (common_method := COMMON_METHODS.get(scope["method"])) is not None:
                await common_method(self.app, scope, receive, send_with_headers)
            else:
                await self.app(scope, receive, send_with_headers)
        finally:
            IN_FLIGHT.dec()
            _record_request(scope, status, time.perf_counter() - started, span)

    async def answer(self, route: FastRoute, scope: HTTPScope, content: bytes) -> tuple[Response[Any], bytes]:
        """Return the response of the fast route, and the header lines that every response has."""
        given = dict(scope["headers"])
        request_id, span = _start_request(scope, given)
        started = time.perf_counter()
        status = 500
        IN_FLIGHT.inc()
        try:
            answer = self._refuse(scope, given) or await route.answer(scope, content)
            status = answer.status_code or 200
        finally:
            IN_FLIGHT.dec()
            _record_request(scope, status, time.perf_counter() - started, span)
        return answer, b"%sx-request-id: %s\r\n\r\n" % (self._head, request_id)

    def _refuse(self, scope: HTTPScope, headers: Mapping[bytes, bytes]) -> Response[bytes] | None:
        """Return the problem of a request that is refused before routing, if any."""
        refusal = self._hosts.refusal(scope, headers)
        if refusal is None and b"content-encoding" in headers and scope["method"] not in SAFE:
            refusal = request_body.encoding_refusal(
                value for name, value in scope["headers"] if name == b"content-encoding"
            )
        return None if refusal is None else problems.from_refusal(None, refusal)


def _start_request(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> tuple[bytes, Span | None]:
    """Set the request's context: its id, if well-formed, else a new one; its trace. Returns the id and a span."""
    request_id = _well_formed(headers.get(b"x-request-id"), REQUEST_ID) or os.urandom(16).hex()
    request_context.request_id.set(request_id)
    traceparent = _well_formed(headers.get(b"traceparent"), TRACEPARENT)
    span = None
    if tracing.is_on() and not scope["path"].startswith(UNMEASURED):
        span = tracing.start_span(scope["method"], "server", traceparent)
        traceparent = span.traceparent if span else traceparent
    request_context.traceparent.set(traceparent)
    return request_id.encode(), span


def _well_formed(raw: bytes | None, pattern: re.Pattern[bytes]) -> str | None:
    return raw.decode() if raw is not None and pattern.fullmatch(raw) else None


def _record_request(scope: HTTPScope, status: int, seconds: float, span: Span | None) -> None:
    """Record the request's duration by its route template; a path would let callers create label values."""
    if scope["path"].startswith(UNMEASURED):
        return
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    route = str(scope.get("path_template") or "unrouted")
    request_duration(method, route, status).observe(seconds)
    if span is not None:
        _end_span(span, method, route, status)
    if status >= 500:  # noqa: PLR2004 - HTTP's server errors
        log.warning("request failed", method=method, route=route, status=status, seconds=round(seconds, 4))


def _end_span(span: Span, method: str, route: str, status: int) -> None:
    """End a span by OpenTelemetry's HTTP conventions: named by the route, failed for 5xx only."""
    span.rename(f"{method} {route}")
    span.set_attributes(
        http__request__method=method,
        http__route=route,
        http__response__status_code=status,
        valerix__request_id=request_context.request_id.get(),
    )
    if status >= 500:  # noqa: PLR2004 - HTTP's server errors
        span.fail(str(status))
    span.end()
