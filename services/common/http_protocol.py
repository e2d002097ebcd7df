"""HTTP/1.1 on one connection: uvicorn's protocol with RFC 9112 framing, limits, and a route without ASGI for orders."""

import asyncio
from typing import Any, Protocol, cast

import httptools
import structlog

from services.common import messages, upgrades
from services.common.coalescing import CoalescingTransport
from services.common.direct_cycle import DirectProtocol, direct_cycle
from services.common.hosts import origin_form
from services.common.messages import HeadTooLarge, InvalidMessage, NotImplementedHere
from services.common.refusals import Refusal

log = structlog.get_logger()

KEEPALIVE_DRAIN_SECONDS = 1.0  # after shutdown begins, idle connections may send one more request
MAX_HEAD_BYTES = 65_536  # bytes of a request before its body, and of the body's framing
MAX_FIELDS = 100  # header fields of a request
CHUNK_ALLOWANCE = 16  # bytes of framing that each chunk may have: the rest counts against MAX_HEAD_BYTES
PARSE_SLICE = 8192  # bytes that are parsed at once: the precision of MAX_HEAD_BYTES


class Connections(Protocol):
    """All connections of a process. `ClientConnections` limits their number and their time."""

    def admit(self, new: "HttpProtocol") -> None:
        """Admit or refuse a new connection."""

    def on_first_head(self, connection: "HttpProtocol") -> None:
        """Record that the head of a first request is complete. Raises a Refusal if there are too many connections."""

    def forget(self, gone: "HttpProtocol") -> None:
        """Record that a connection is closed."""


class HttpProtocol(DirectProtocol):
    """One connection. It differs from uvicorn's protocol as follows.

    - An upgrade is declined, and the message framed as if none had been requested.
    - Trailer fields are dropped. Heads, trailers and the framing of chunks are limited (431).
    - A refused message gets its response in order, after those before it, and nothing after it is read.
    - Pipelined requests stay unparsed, so they cost no more than their bytes.
    - On shutdown, idle connections stay open for `KEEPALIVE_DRAIN_SECONDS`, for a request already sent.
    - Response head and body are sent in one write, and one endpoint is served without ASGI.

    `ClientConnections` closes it at a time limit, or to make room for another.
    """

    def __init__(self, connections: Connections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self.owner = connections
        self.is_silent = True  # no head has arrived
        self.is_spare = False  # above the limit of connections: for health and metrics only
        self.is_ending = False  # the last response is written or pending: further input is discarded
        self.in_head = False
        self.in_body = False
        self.heads = 0  # number received
        self.received = 0  # bytes
        self.last_state: tuple[Any, ...] = ()  # at the latest sweep of `connections`
        self.waited = 0.0  # seconds in that state
        self._marks = 0  # number of ends of heads and messages
        self._credit = 0  # bytes that do not count against MAX_HEAD_BYTES
        self._head = 0  # bytes that do, in the current message
        self._trailers = self._trailer_bytes = 0  # trailer fields of the current message
        self._body_follows = False  # although the parser considers the message complete
        self._held = b""  # received, not parsed yet
        self._last: bytes | None = None  # pending response to a refused message
        self._is_shutting_down = False
        self._failure: Exception | None = None  # raised by the latest callback

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.owner.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.forget(self)
        super().connection_lost(exc)

    # Stopping

    def shutdown(self) -> None:
        self._is_shutting_down = True
        if self.is_lingering:
            self.transport.close()
        elif self.is_idle:
            self.loop.call_later(KEEPALIVE_DRAIN_SECONDS, self._close_if_idle)
        else:
            super().shutdown()

    @property
    def is_lingering(self) -> bool:
        """True if the last response is written and the client has to read it and close."""
        return self.is_ending and self._last is None

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.transport.close()

    # Parsing

    def data_received(self, data: bytes) -> None:
        if self.is_ending:
            return
        self.received += len(data)
        if len(data) > PARSE_SLICE or self._held:
            self._held += data
            self._parse_held()
        else:
            self._parse(data)

    def _parse_held(self) -> None:
        """Parse the buffered input, until a request has to wait for its turn."""
        held, at = memoryview(self._held), 0
        while at < len(held) and not self.pipeline and not self.is_ending:
            at += len(data := held[at : at + PARSE_SLICE])
            self._parse(data)
        self._held = b"" if self.is_ending else bytes(held[at:])

    def _parse(self, data: bytes | memoryview) -> None:
        marks, credit = self._marks, self._credit
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._decline_upgrade()
                data = data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self.refuse(self._refusal(error))
                return
            else:
                break
        if self._marks == marks:  # all within one head or one body
            self._head = max(0, self._head + len(data) - (self._credit - credit))
            if self._head > MAX_HEAD_BYTES:
                self.refuse(HeadTooLarge(f"A request may have {MAX_HEAD_BYTES} bytes of header and trailer fields"))

    def _refusal(self, error: httptools.HttpParserError) -> Refusal:
        """Return why a message is refused: the exception of a callback, or the parser's error."""
        why, self._failure = self._failure, None
        if isinstance(why, Refusal):
            return why
        if why is not None and not isinstance(why, httptools.HttpParserError | ValueError):  # malformed targets
            log.error("unhandled error", exc_info=why)
        return InvalidMessage(f"This is not HTTP/1.1: {error}")

    def _decline_upgrade(self) -> None:
        if self._body_follows:
            self._body_follows = False
            self.parser = upgrades.parser_of_body(self, self.headers)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_head:
            self._limit_trailers(len(name) + len(value) + 4)
            return  # a trailer field: RFC 9110, section 6.5.1
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        try:
            self._begin()
        except Exception as error:
            self._failure = error  # the parser's error has it as its context only outside an exception handler
            raise
        self.heads += 1
        self._marks += 1
        self.in_body = True
        self._trailers = self._trailer_bytes = 0

    def on_chunk_header(self) -> None:
        self._credit += CHUNK_ALLOWANCE

    def on_body(self, body: bytes) -> None:
        self._credit += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._body_follows:
            return
        self.in_body = False
        self._marks += 1
        self._head = 0
        super().on_message_complete()

    def _begin(self) -> None:
        """Start the request whose head is complete."""
        self._limit_head()
        if not self.url.startswith(b"/"):
            cast("Any", self.scope)["target"] = self.url  # missing in ASGI; Host has to match it
            self.url = origin_form(self.url)
        if self.is_silent:
            self.owner.on_first_head(self)
        if (cycle := direct_cycle(self)) is not None:
            self.cycle = cycle  # type: ignore[assignment]  # as much of one as uvicorn's protocol uses
        else:
            self._require_framing()
            super().on_headers_complete()
            self.cycle.transport = CoalescingTransport(self, self.cycle)  # type: ignore[assignment]  # as much of one as it uses
            if self.expect_100_continue:
                self.cycle.keep_alive = False  # a client without a 100 response may omit the body
        if self._is_shutting_down or self.is_spare:
            self.cycle.keep_alive = False

    def _limit_head(self) -> None:
        """Count the bytes of the head exactly if they may exceed the limit."""
        if self._head + PARSE_SLICE > MAX_HEAD_BYTES:
            self._head = self._parsed_head()
        if self._head > MAX_HEAD_BYTES or len(self.headers) > MAX_FIELDS:
            raise HeadTooLarge(f"A request may have {MAX_FIELDS} header fields of {MAX_HEAD_BYTES} bytes in all")

    def _parsed_head(self) -> int:
        """Return the bytes of the request line and the header fields, as parsed."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _limit_trailers(self, size: int) -> None:
        """Count a trailer field of `size` bytes together with the head."""
        self._trailers += 1
        self._trailer_bytes += size
        if self._trailers > MAX_FIELDS or self._parsed_head() + self._trailer_bytes > MAX_HEAD_BYTES:
            self._failure = HeadTooLarge(f"Header and trailer fields may have {MAX_HEAD_BYTES} bytes in all")
            raise self._failure

    def _require_framing(self) -> None:
        """Raise if the end of this message is undefined by RFC 9112; else note whether a body follows."""
        version = self.parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise InvalidMessage(f"HTTP/{version} is not supported")
        if self.parser.get_method() == b"CONNECT":
            raise NotImplementedHere("There is no CONNECT here")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings and version == "1.0":
            raise InvalidMessage("HTTP/1.0 has no Transfer-Encoding")  # RFC 9112, section 6.1
        if codings not in ([], [b"chunked"]):
            raise NotImplementedHere("No transfer coding but chunked is known here")
        self._body_follows = self.parser.should_upgrade() and upgrades.announces_body(self.headers)

    # Answering

    def on_response_complete(self) -> None:
        """Start the next request, or refuse it. There is no timer: `ClientConnections` sweeps."""
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self.is_lingering:
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last is not None:
            self._end_with(self._last)
        if self._held and not self.pipeline:  # perhaps the body of the request just started
            self._parse_held()
        if not self.pipeline and not self._held:
            self.flow.resume_reading()

    def refuse(self, refusal: Refusal) -> None:
        """Refuse the request that is being read, in order, and close the connection."""
        self.is_ending, self._held = True, b""
        answer = messages.answer(refusal, self.server_state.default_headers)
        if not self.in_body:
            self._end_in_turn(answer)
        elif self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()
            self._last = answer
        else:
            is_unanswered = not getattr(self.cycle, "response_started", False)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._end_with(answer if is_unanswered else b"")

    def _end_in_turn(self, answer: bytes) -> None:
        if self.is_idle:
            self._end_with(answer)
        else:
            self._last = answer

    def _end_with(self, answer: bytes) -> None:
        """Write the last response and half-close, so that the client can read it: closing with unread input resets."""
        self.is_ending, self._last, self._held = True, None, b""
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.write_eof()
            self.flow.resume_reading()

    def end(self) -> None:
        """Close the connection after a response, even if its request is still arriving."""
        if self.in_body:
            self._end_with(b"")
        else:
            self.transport.close()
