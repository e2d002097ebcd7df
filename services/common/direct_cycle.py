"""Handles one request without ASGI: the handler runs when the body is complete, the response is one write.

uvicorn starts a task per request head and exchanges messages with it, which serves every application. For POST
/api/orders, that cost as much CPU time as the order itself.
"""

from typing import Any, cast

from litestar import Response
from litestar.types import HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.common import request_body
from services.common.fast_route import FastRoute
from services.common.middleware import RequestMiddleware


class DirectProtocol(HttpToolsProtocol):
    """A connection that may serve requests by direct cycles."""

    @property
    def is_idle(self) -> bool:
        """True if no request is waiting for its response."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request, unlike uvicorn's annotation
        return cycle is None or cycle.response_complete

    def start_cycle(self, cycle: "DirectCycle") -> None:
        """Run the handler of a direct cycle in a task."""
        self._start_asgi_task(cycle, self.app)  # type: ignore[arg-type]  # as much of a cycle as it uses


class DirectCycle:
    """Replaces uvicorn's `RequestResponseCycle`, whose body the protocol fills in.

    The handler starts once the body is complete; it never starts for an incomplete one.
    """

    __slots__ = (
        "_fast_route",
        "_is_started",
        "_middleware",
        "_protocol",
        "_scope",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    def __init__(
        self,
        protocol: DirectProtocol,
        middleware: RequestMiddleware,
        fast_route: FastRoute,
        scope: HTTPScope,
    ) -> None:
        self._protocol, self._middleware, self._fast_route, self._scope = protocol, middleware, fast_route, scope
        self._is_started = False
        self.body = b""
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = protocol.parser.should_keep_alive()

    @property
    def message_event(self) -> "DirectCycle":
        """The event that uvicorn sets when body data or the end of the connection arrives."""
        return self

    def set(self) -> None:
        if self._is_started or self.more_body or self.disconnected:
            return
        self._is_started = True
        self._protocol.start_cycle(self)

    async def run_asgi(self, _: Any) -> None:
        """Run the handler and write the response. uvicorn runs this as a task."""
        protocol = self._protocol
        try:
            answer, extra = await self._middleware.answer(self._fast_route, self._scope, self.body)
            if protocol.flow.write_paused and not self.disconnected:
                await protocol.flow.drain()
            sent = self._encode(answer, extra)
        except BaseException:  # handlers never raise: this is the process's end, or a bug
            protocol.transport.close()
            raise
        if self.disconnected:
            return
        self.response_complete = True
        protocol.transport.write(sent)
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()
        del self._protocol, self._scope  # breaks a reference cycle, so that connections are freed at once

    def _encode(self, answer: Response[bytes], extra: bytes) -> bytes:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        if not self.keep_alive:
            headers["connection"] = "close"
        headers["content-type"] = str(answer.media_type)
        headers["content-length"] = str(len(answer.content))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if head.count("\n") != len(headers) or head.count("\r") != len(headers):
            raise ValueError(f"a header with a line break: {headers}")
        default_headers = b"".join(b"%s: %s\r\n" % pair for pair in self._protocol.server_state.default_headers)
        return b"".join(
            (STATUS_LINE[answer.status_code or 200], default_headers, head.encode("latin-1"), extra, answer.content)
        )


def direct_cycle(protocol: DirectProtocol) -> DirectCycle | None:
    """Return the cycle for the request whose head has arrived; None if the fast route is not for it.

    Every other message for that endpoint (chunked, pipelined, HTTP/1.0, `Expect`, a query) is served by ASGI.
    """
    middleware, parser = cast("RequestMiddleware", protocol.app), protocol.parser
    fast_route = middleware.fast_route
    if (
        fast_route is None
        or protocol.url != fast_route.url
        or parser.get_method() != fast_route.method
        or not protocol.is_idle
        or protocol.expect_100_continue
        or parser.should_upgrade()
        or parser.get_http_version() != "1.1"
        or not any(name == b"content-length" and _is_short(value) for name, value in protocol.headers)
    ):
        return None
    scope: Any = protocol.scope
    scope["method"], scope["path"] = fast_route.endpoint
    scope["raw_path"], scope["query_string"] = protocol.url, b""
    return DirectCycle(protocol, middleware, fast_route, scope)


def _is_short(length: bytes) -> bool:
    return length.isdigit() and int(length) <= request_body.MAX_BYTES
