"""HEAD and OPTIONS for every path (RFC 9110, 9.1), so that handlers need not implement them."""

from collections.abc import MutableMapping
from typing import Any

from litestar.datastructures import MutableScopeHeaders
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send

NO_METHOD = "-"  # no handler has it: an existing path responds with 405 and its methods
NOT_ALLOWED = 405
EVERYWHERE = (b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"POST")  # methods that some path has


async def head(app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Respond as to GET, without the body (RFC 9110, 9.3.2). An endless response ends with its head."""
    is_over = False

    async def send_head(message: Message) -> None:
        nonlocal is_over
        if message["type"] == "http.response.start":
            await send(message)
        elif not is_over:
            is_over = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    await _as_method("GET", app, scope, receive, send_head)


async def options(app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Respond with 204 and Allow (RFC 9110, 9.3.7) without authentication; 404 for an unknown path.

    `*` stands for the service as a whole.
    """
    if scope.get("target") == b"*":
        await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", b", ".join(EVERYWHERE))]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    is_found = False

    async def send_allowed(message: Message) -> None:
        nonlocal is_found
        if message["type"] == "http.response.start" and message["status"] == NOT_ALLOWED:
            is_found = True
            message["status"] = 204
            headers = MutableScopeHeaders(message)
            for name in ("content-type", "content-length"):
                headers.pop(name, None)
        elif is_found:
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(message)

    await _as_method(NO_METHOD, app, scope, receive, send_allowed)


async def _as_method(method: str, app: ASGIApp, scope: HTTPScope, receive: Receive, send: Send) -> None:
    """Run the application with another method; the server frames the response by the real one."""
    inner: Any = {**scope, "method": method}
    try:
        await app(inner, receive, send)
    finally:
        outer: MutableMapping[str, Any] = scope  # type: ignore[assignment]  # a plain dictionary
        outer["path_template"] = inner.get("path_template")  # for the request's metrics


def in_full(allow: str) -> str:
    """Return an Allow header with the methods that every path has: OPTIONS, and HEAD beside GET."""
    methods = {method.strip() for method in allow.split(",")} | {"OPTIONS"}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
