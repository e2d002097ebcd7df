"""HTTP/1.1 on one connection: uvicorn's, but for what it leaves open."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from services.common import body
from services.common.edge import Edge
from services.common.hosts import origin_form
from services.common.straight import Straight

PARTING = 1.0  # seconds that an idle connection may still bring a request once we are to stop
HEAD_LIMIT = 65_536  # bytes of a request before its body


class Protocol(HttpToolsProtocol):
    """uvicorn's, but for four things.

    Of a request whose head has no end it would keep all. When it is to stop it would close idle connections at once, on
    which the next request may be under way already: they get one more answer, which says that it is the last. The head
    of an answer and its body would be written apart. And one endpoint goes straight.
    """

    _in_head = True
    _head = 0  # bytes of one that is not complete
    _is_parting = False

    def shutdown(self) -> None:
        self._is_parting = True
        if self._is_idle:
            self.loop.call_later(PARTING, self._part)
        else:
            super().shutdown()

    @property
    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # which uvicorn calls one before there is any
        return cycle is None or cycle.response_complete

    def _part(self) -> None:
        if self._is_idle:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._head = self._head + len(data) if self._in_head else 0
        if self._head > HEAD_LIMIT:
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        if not self.url.startswith(b"/"):
            cast("Any", self.scope)["target"] = self.url  # which ASGI leaves out, and the host must agree with
            self.url = origin_form(self.url)
        if (straight := self._straight()) is not None:
            self.cycle = straight  # type: ignore[assignment]  # as much of one as uvicorn's protocol uses
        else:
            super().on_headers_complete()
            if self.cycle.scope["method"] != "HEAD":  # which has no body for its head to wait for
                self.cycle.transport = _Together(self.cycle)
        if self._is_parting:
            self.cycle.keep_alive = False

    def begin(self, cycle: Straight) -> None:
        """Have an answer made beside all else that the process does."""
        self._start_asgi_task(cycle, self.app)  # type: ignore[arg-type]  # as above

    def _straight(self) -> Straight | None:
        """What answers this request without ASGI, if its head is of the plain sort that goes straight."""
        edge = cast("Edge", self.app)
        shortcut, parser = edge.straight, self.parser
        if (
            shortcut is None
            or self.url != shortcut.url
            or parser.get_method() != shortcut.method
            or not self._is_idle
            or self.expect_100_continue
            or parser.should_upgrade()
            or parser.get_http_version() != "1.1"
            or not any(name == b"content-length" and _is_short(value) for name, value in self.headers)
        ):
            return None
        scope: Any = self.scope
        scope["method"], scope["path"] = shortcut.endpoint
        scope["raw_path"], scope["query_string"] = self.url, b""
        return Straight(self, edge, shortcut, scope)


def _is_short(length: bytes) -> bool:
    return length.isdigit() and int(length) <= body.LIMIT


class _Together(asyncio.Transport):
    """What one answer is written to: its head waits for the first of its body, since each write is a system call.

    Of what an order costs its service, that was a twentieth. An answer that is streamed sends its head with what it
    streams first.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._head:
            self._transport.write(self._head + data)
            self._cycle.transport = self._transport
        elif self._cycle.response_started:
            self._head = bytes(data)
        else:
            self._transport.write(data)  # "100 Continue"

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
