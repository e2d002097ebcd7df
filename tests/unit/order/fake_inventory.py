"""An inventory controlled by a test: real replicas on the loopback interface, and a client of them."""

import asyncio
import contextlib
import enum
import json
import socket
import struct
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, Never

import msgspec

from services.common.http_client import open_session
from services.order.breaker import Breaker
from services.order.domain import Claim
from services.order.inventory_client import InventoryClient

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LIMIT = 5.0  # seconds: longer than any test, except those of the limit


class Reply(msgspec.Struct, frozen=True):
    """A complete response, sent unchanged."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


def reply(status: int, content: Any) -> Reply:
    """Return a JSON response."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


class Fault(enum.Enum):
    """Replacements of a response, or of the rest of one."""

    REFUSED = "nothing listens"
    RESET = "the connection is reset"
    CLOSED = "the connection is closed"
    SILENT = "nothing comes"
    TORN = "half a line, and the connection is closed"
    GARBLED = "something that is not HTTP"


Answer = Callable[[dict[str, Any]], dict[str, Any] | bytes | Fault | None]


class _Request(msgspec.Struct, frozen=True):
    path: str
    headers: dict[str, str]
    body: bytes


class _HungUp(Exception):  # noqa: N818 - a control-flow exception of the tests
    """The replica closes the connection."""


class Warehouse:
    """Receives deductions line by line; `answer` returns the result of each, None to lose it.

    Lines wait until they are released, unless `patient` is false. `responses` are for whole paths. `close_all` closes
    all instances; a fixture calls it.
    """

    _open: ClassVar[list["Warehouse"]] = []

    def __init__(
        self,
        *,
        patient: bool = False,
        replicas: int = 1,
        path: str = "",
        limit: float = LIMIT,
        breaker: Breaker | None = None,
    ) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.answer: Answer = lambda _: {"status": 200, "repeated": False}
        self.responses: dict[str, Reply | Fault] = {}
        self.released: dict[str, asyncio.Event] = {}
        self._patient = patient
        self._serving: dict[asyncio.Task[None], socket.socket] = {}
        self._strangers: list[socket.socket] = []
        self._replicas = dict(self._listen() for _ in range(replicas))
        self.urls = [f"http://127.0.0.1:{port}{path}" for port in self._replicas]
        self.breaker = breaker or Breaker()
        self.session = open_session()
        self.inventory = InventoryClient(self.session, tuple(self.urls), "token-of-the-service", limit, self.breaker)
        self._open.append(self)

    @classmethod
    async def close_all(cls) -> None:
        while cls._open:
            await cls._open.pop().close()

    async def close(self) -> None:
        for port in self._replicas:
            self._stop_listening(port)
        self._replicas.clear()
        for stranger in self._strangers:
            stranger.close()
        await self.session.close()
        await self.hang_up()

    async def hang_up(self, *, reset: bool = False) -> None:
        """Close or reset every connection, whatever its state."""
        for task, connection in self._serving.items():
            if reset:
                _reset_on_close(connection)
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def script(self, path: str, what: Reply | Fault) -> None:
        """Set the response for `path`; for every path if the replicas refuse connections."""
        if what is Fault.REFUSED:
            self.leave()
        else:
            self.responses[path] = what

    def leave(self, *urls: str) -> None:
        """Make these replicas, or all, refuse connections from now on. They keep their ports."""
        for port in self._ports(urls):
            self._stop_listening(port)
            self._replicas[port] = _bound(port)

    def vanish(self, *urls: str) -> None:
        """Make these replicas, or all, ignore connection attempts, as if their machine were down."""
        for port in self._ports(urls):
            self._stop_listening(port)
            self._replicas[port] = full = _bound(port)
            full.listen(0)
            self._strangers.append(socket.create_connection(("127.0.0.1", port)))  # fills its only slot

    def release_all(self) -> None:
        """Release every line received so far."""
        for batch in self.batches:
            for line in batch:
                self.released.setdefault(line["order_id"], asyncio.Event()).set()

    def release(self, *claims: Claim) -> None:
        for claim in claims:
            self.released.setdefault(str(claim.order_id), asyncio.Event()).set()

    def _ports(self, urls: tuple[str, ...]) -> list[int]:
        return [port for port, url in zip(self._replicas, self.urls, strict=True) if url in (urls or self.urls)]

    def _listen(self) -> tuple[int, socket.socket]:
        listening = _bound(0)
        listening.listen()
        listening.setblocking(False)  # noqa: FBT003 - the standard library's
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)
        return listening.getsockname()[1], listening

    def _stop_listening(self, port: int) -> None:
        asyncio.get_running_loop().remove_reader(self._replicas[port])
        self._replicas[port].close()

    def _accept(self, listening: socket.socket) -> None:
        connection, _ = listening.accept()
        self.connections += 1
        task = asyncio.create_task(self._serve(connection))
        self._serving[task] = connection
        task.add_done_callback(self._serving.pop)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, _HungUp):
                while True:
                    await self._respond(await _request(reader), writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _respond(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        self.asked.append(f"http://{request.headers['host']}{request.path}")
        self.headers.append(request.headers)
        match self.responses.get(request.path):
            case Reply(status, body, headers):
                fields = headers | {"Content-Length": str(len(body))}
                writer.write(_head(status, fields) + body)
            case Fault() as fault:
                await _suffer(fault, writer)
            case None:
                lines = [json.loads(line) for line in request.body.splitlines()]
                self.batches.append(lines)
                writer.write(_head(200, {"Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}))
                async with contextlib.aclosing(self._answers(lines)) as answers:
                    async for answer in answers:
                        if isinstance(answer, Fault):
                            await _suffer(answer, writer)
                        writer.write(_chunk(answer) if answer else b"")
                writer.write(_chunk(b""))

    async def _answers(self, lines: list[dict[str, Any]]) -> AsyncGenerator[bytes | Fault, None]:
        if not self._patient:
            for line in lines:
                yield self._line(line)
            return
        waiting = [asyncio.create_task(self._when_released(line)) for line in lines]
        try:
            for answered in asyncio.as_completed(waiting):
                yield await answered
        finally:
            for task in waiting:
                task.cancel()

    async def _when_released(self, line: dict[str, Any]) -> bytes | Fault:
        await self.released.setdefault(line["order_id"], asyncio.Event()).wait()
        return self._line(line)

    def _line(self, line: dict[str, Any]) -> bytes | Fault:
        answer = self.answer(line)
        if isinstance(answer, dict):
            return json.dumps({"order_id": line["order_id"], **answer}).encode() + b"\n"
        return b"" if answer is None else answer


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _request(reader: asyncio.StreamReader) -> _Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[:-1]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:])}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return _Request(head[0].split(" ")[1], headers, body)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} As wanted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def _suffer(fault: Fault, writer: asyncio.StreamWriter) -> Never:
    if fault is Fault.RESET:
        _reset_on_close(writer.get_extra_info("socket"))
    elif fault is Fault.TORN:
        writer.write(_chunk(b'{"order_id":'))
    elif fault is Fault.GARBLED:
        writer.write(b"It is all quite different.\r\n\r\n")
    if fault in {Fault.SILENT, Fault.GARBLED}:
        await asyncio.Event().wait()
    raise _HungUp


async def until(look: Callable[[], Any], within: float = 5.0) -> None:
    """Wait until `look` returns a true value."""
    async with asyncio.timeout(within):
        while not look():  # noqa: ASYNC110 - the condition comes over the network
            await asyncio.sleep(0)


def claims(count: int, *, first: int = 1) -> list[Claim]:
    return [
        Claim(uuid.UUID(int=number), "ps5", 1, "pending", 1, 1, f"key-{number}", NOON)
        for number in range(first, first + count)
    ]


async def together(deduct: Callable[[Claim], Awaitable[Any]], wanted: list[Claim]) -> list[Any]:
    return await asyncio.gather(*(deduct(claim) for claim in wanted))
