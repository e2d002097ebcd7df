"""A minimal HTTP/1.1 client that only POSTs orders, so that a thousand concurrent requests cost little CPU."""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from valerix_cli.clients.order_models import OrderRequest

_PATH = "/api/orders"
_PROBLEM = "urn:valerix:problem:"


class NoResponse(Exception):  # noqa: N818 - an expected outcome, not an error
    """The request got no response. The message is the reason, such as `timeout`."""


class Response(msgspec.Struct, frozen=True):
    """A response with an order or a problem; `replayed` is true if the result was already stored."""

    http_status: int
    replayed: bool
    retry_after: float | None
    order_id: str | None
    order_status: str | None
    problem: str | None

    @property
    def outcome(self) -> str:
        """The order's status, the problem's type, or `http-` and the status code."""
        return self.order_status or self.problem or f"http-{self.http_status}"


class _Body(msgspec.Struct, frozen=True):
    """The fields read from an order or a problem document, whose `status` is a number."""

    order_id: str | None = None
    status: str | int | None = None
    type: str | None = None


class Address(msgspec.Struct, frozen=True):
    """The address of a replica and the constant part of the request head."""

    host: str
    port: int
    tls: bool
    head: bytes

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str]) -> Self:
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if tls else 80)
        lines = [f"POST {parts.path.rstrip('/')}{_PATH} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
        return cls(host, port, tls, "\r\n".join(lines).encode() + b"\r\n")


class Connection(asyncio.Protocol):
    """A persistent connection that carries one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._response: asyncio.Future[Response] | None = None
        self._retry_after: float | None = None
        self._reset()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def post(self, request: bytes, timeout: float) -> Response:  # noqa: ASYNC109 - a timer costs less than a scope
        """Send a request and return its response. Raises NoResponse."""
        assert self._transport is not None  # noqa: S101 - only connected instances are used # nosec B101
        loop = asyncio.get_running_loop()
        response: asyncio.Future[Response] = loop.create_future()
        self._response = response
        timer = loop.call_later(timeout, self._fail, "timeout")
        self._transport.write(request)
        try:
            return await response
        finally:
            timer.cancel()
            self._response = None
            if not response.done() or response.cancelled():  # a late response would be taken for the next request's
                self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class does not inherit from it

    def connection_lost(self, _: Exception | None) -> None:
        self._fail("connection-lost")

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("not-http")

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"idempotent-replayed":
                self._replayed = value == b"true"
            case b"retry-after" if value.isdigit():
                self._retry_after = float(value)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        response = _parse(self._parser.get_status_code(), bytes(self._body), self._replayed, self._retry_after)
        if not self._parser.should_keep_alive():
            self.close()
        self._reset()
        if self._response is not None and not self._response.done():
            self._response.set_result(response)

    def _reset(self) -> None:
        self._body = bytearray()
        self._replayed = False
        self._retry_after = None

    def _fail(self, reason: str) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(NoResponse(reason))
        self.close()


class HttpClient:
    """Sends orders to the replicas in turn, with at most `connections` concurrent requests.

    `timeout` is in seconds, for each request.
    """

    def __init__(self, urls: Sequence[str], headers: Mapping[str, str], *, timeout: float, connections: int) -> None:
        self._addresses = [Address.of(url, headers) for url in urls]
        self._idle: list[deque[Connection]] = [deque() for _ in urls]
        self._timeout = timeout
        self._limit = asyncio.Semaphore(connections)
        self._tls = ssl.create_default_context() if any(address.tls for address in self._addresses) else None
        self._next = 0

    async def post(self, order: OrderRequest) -> Response:
        """Send an order to the next replica that can be reached. Raises NoResponse."""
        async with self._limit:
            replica, connection = await self._acquire()
            response = await connection.post(_request(self._addresses[replica], order), self._timeout)
            if connection.is_open:
                self._idle[replica].append(connection)
            return response

    def close(self) -> None:
        for connection in (one for idle in self._idle for one in idle):
            connection.close()

    async def _acquire(self) -> tuple[int, Connection]:
        """Return the index of the next replica that can be reached, and a connection to it."""
        number = len(self._addresses)
        self._next = first = (self._next + 1) % number
        *others, last = ((first + step) % number for step in range(number))  # fixed now: other requests advance `_next`
        for replica in others:
            with suppress(NoResponse):
                return replica, await self._connection(replica)
        return last, await self._connection(last)

    async def _connection(self, replica: int) -> Connection:
        while self._idle[replica]:
            if (connection := self._idle[replica].pop()).is_open:
                return connection
        address = self._addresses[replica]
        try:
            async with asyncio.timeout(self._timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection, address.host, address.port, ssl=self._tls if address.tls else None
                )
        except TimeoutError:
            raise NoResponse("connect-timeout") from None
        except OSError:
            raise NoResponse("connection-refused") from None
        return connection


def _request(address: Address, order: OrderRequest) -> bytes:
    body = b'{"item_id":"%b","quantity":%d}' % (order.item_id.encode(), order.quantity)
    return b"%bIdempotency-Key: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        address.head,
        order.key.encode(),
        len(body),
        body,
    )


def _parse(http_status: int, content: bytes, replayed: bool, retry_after: float | None) -> Response:  # noqa: FBT001 - as parsed
    try:
        body = _decode(content)
    except msgspec.DecodeError:
        body = _Body()
    order_status = body.status if isinstance(body.status, str) else None
    problem = body.type.removeprefix(_PROBLEM) if body.type else None
    return Response(http_status, replayed, retry_after, body.order_id, order_status, problem)


_decode = msgspec.json.Decoder(_Body).decode
