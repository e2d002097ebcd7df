"""An HTTP/1.1 client that does one thing, so that a thousand of it cost little: POST an order, read the answer."""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from valerix_cli.clients.sends import Wanted

_PATH = "/api/orders"
_PROBLEM = "urn:valerix:problem:"


class Unanswered(Exception):  # noqa: N818 - it is a possible outcome, not a mistake
    """No answer came: a word for why."""


class Answer(msgspec.Struct, frozen=True):
    """What came back: an order, or a problem, and whether it had been stored before."""

    http_status: int
    replayed: bool
    retry_after: float | None
    order_id: str | None
    order_status: str | None
    problem: str | None

    @property
    def said(self) -> str:
        """One word for it."""
        return self.order_status or self.problem or f"http-{self.http_status}"


class _Body(msgspec.Struct, frozen=True):
    """What is read of an order or of a problem document; the `status` of the latter is a number."""

    order_id: str | None = None
    status: str | int | None = None
    type: str | None = None


class Address(msgspec.Struct, frozen=True):
    """Where a replica is, and how requests to it begin."""

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
    """One connection, which carries one request at a time and is kept open."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[Answer] | None = None
        self._retry_after: float | None = None
        self._forget()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def post(self, request: bytes, timeout: float) -> Answer:  # noqa: ASYNC109 - a timer costs less than a scope
        """Raises Unanswered."""
        assert self._transport is not None  # noqa: S101 - connections are handed out once they are made # nosec B101
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()
        self._answered = answered
        timer = loop.call_later(timeout, self._fail, "timeout")
        self._transport.write(request)
        try:
            return await answered
        finally:
            timer.cancel()
            self._answered = None
            if not answered.done() or answered.cancelled():  # an answer may still come, and would be the next one's
                self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

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
        answer = _read(self._parser.get_status_code(), bytes(self._body), self._replayed, self._retry_after)
        if not self._parser.should_keep_alive():
            self.close()
        self._forget()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(answer)

    def _forget(self) -> None:
        self._body = bytearray()
        self._replayed = False
        self._retry_after = None

    def _fail(self, why: str) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(Unanswered(why))
        self.close()


class Client:
    """Sends orders to replicas in turn, on as many connections as there are requests at a time, up to a limit.

    `timeout` is in seconds, for each request.
    """

    def __init__(self, urls: Sequence[str], headers: Mapping[str, str], *, timeout: float, connections: int) -> None:
        self._addresses = [Address.of(url, headers) for url in urls]
        self._idle: list[deque[Connection]] = [deque() for _ in urls]
        self._timeout = timeout
        self._room = asyncio.Semaphore(connections)
        self._tls = ssl.create_default_context() if any(address.tls for address in self._addresses) else None
        self._turn = 0

    async def post(self, wanted: Wanted) -> Answer:
        """Send an order to the next replica, or the one after where that cannot be reached. Raises Unanswered."""
        async with self._room:
            turn, connection = await self._reach()
            answer = await connection.post(_request(self._addresses[turn], wanted), self._timeout)
            if connection.is_open:
                self._idle[turn].append(connection)
            return answer

    def close(self) -> None:
        for connection in (one for idle in self._idle for one in idle):
            connection.close()

    async def _reach(self) -> tuple[int, Connection]:
        """The next replica that can be reached, and a connection to it."""
        number = len(self._addresses)
        self._turn = first = (self._turn + 1) % number
        *others, last = ((first + step) % number for step in range(number))  # whatever turns others take meanwhile
        for turn in others:
            with suppress(Unanswered):
                return turn, await self._connection(turn)
        return last, await self._connection(last)

    async def _connection(self, turn: int) -> Connection:
        while self._idle[turn]:
            if (connection := self._idle[turn].pop()).is_open:
                return connection
        address = self._addresses[turn]
        try:
            async with asyncio.timeout(self._timeout):
                _, made = await asyncio.get_running_loop().create_connection(
                    Connection, address.host, address.port, ssl=self._tls if address.tls else None
                )
        except TimeoutError:
            raise Unanswered("connect-timeout") from None
        except OSError:
            raise Unanswered("connection-refused") from None
        return made


def _request(address: Address, wanted: Wanted) -> bytes:
    body = b'{"item_id":"%b","quantity":%d}' % (wanted.item_id.encode(), wanted.quantity)
    return b"%bIdempotency-Key: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        address.head,
        wanted.key.encode(),
        len(body),
        body,
    )


def _read(http_status: int, content: bytes, replayed: bool, retry_after: float | None) -> Answer:  # noqa: FBT001 - as parsed
    try:
        body = _decode(content)
    except msgspec.DecodeError:
        body = _Body()
    order_status = body.status if isinstance(body.status, str) else None
    problem = body.type.removeprefix(_PROBLEM) if body.type else None
    return Answer(http_status, replayed, retry_after, body.order_id, order_status, problem)


_decode = msgspec.json.Decoder(_Body).decode
