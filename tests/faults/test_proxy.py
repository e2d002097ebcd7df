"""The proxy of the fault tests: each fault, with a real client and a real server."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TypeAlias

import pytest

from tests.faults.proxy import Proxy
from tests.processes import eventually

MOMENT = 0.15  # seconds without a response that count as none
LIMIT = 5.0  # seconds within which a condition has to hold


class Client:
    """A connection that sends lines."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, line: bytes) -> None:
        self._writer.write(line)

    async def ask(self, line: bytes) -> bytes:
        self.send(line)
        return await self.receive()

    async def receive(self, within: float = LIMIT) -> bytes:
        """Return the next line, or the rest of the data when the connection was closed without a reset."""
        async with asyncio.timeout(within):
            return await self._reader.readline()

    async def close(self) -> None:
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


Connect: TypeAlias = Callable[[Proxy], Awaitable[Client]]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Port of a server that echoes each line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def proxy(port: int) -> Iterator[Proxy]:
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects to a proxy; closes the connections at the end."""
    opened: list[Client] = []

    async def connect(proxy: Proxy) -> Client:
        opened.append(Client(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return opened[-1]

    yield connect
    for client in opened:
        await client.close()


@pytest.fixture
async def client(proxy: Proxy, connect: Connect) -> Client:
    """A connection that has already been used."""
    client = await connect(proxy)
    assert await client.ask(b"hello\n") == b"hello\n"
    return client


async def test_the_proxy_forwards_everything_and_counts_nothing_without_a_fault(proxy: Proxy, client: Client) -> None:
    long = b"x" * 50_000 + b"\n"
    assert await client.ask(long) == long
    assert not proxy.fired


async def test_a_delay_holds_each_chunk_back_in_both_directions(proxy: Proxy, client: Client) -> None:
    proxy.delay(0.1)
    began = time.monotonic()
    assert await client.ask(b"slow\n") == b"slow\n"
    assert 0.2 <= time.monotonic() - began < LIMIT
    assert proxy.fired == {"delay": 1}


async def test_a_delay_ends_when_healed(proxy: Proxy, client: Client) -> None:
    proxy.delay(3600)
    client.send(b"slow\n")
    await asyncio.to_thread(eventually, lambda: proxy.fired["delay"], LIMIT)
    proxy.heal()
    assert await client.receive() == b"slow\n"


async def test_a_stalled_connection_is_silent_and_is_reset_when_healed(
    proxy: Proxy, client: Client, connect: Connect
) -> None:
    proxy.stall()
    client.send(b"lost\n")
    new = await connect(proxy)
    new.send(b"lost too\n")
    for silent in (client, new):
        with pytest.raises(TimeoutError):
            await silent.receive(MOMENT)
    assert proxy.fired == {"stall": 2}
    proxy.heal()
    for stalled in (client, new):
        with pytest.raises(ConnectionResetError):
            await stalled.receive()


@pytest.mark.parametrize("answers_only", [False, True])
async def test_swallowing_silences_open_connections_and_forwards_new_ones(
    proxy: Proxy, client: Client, connect: Connect, *, answers_only: bool
) -> None:
    proxy.swallow(answers_only=answers_only)
    client.send(b"lost\n")
    with pytest.raises(TimeoutError):
        await client.receive(MOMENT)
    assert await (await connect(proxy)).ask(b"fine\n") == b"fine\n"
    assert proxy.fired == {"swallow-answers" if answers_only else "swallow": 1}
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        await client.receive()


async def test_an_idle_connection_survives_a_stall(proxy: Proxy, client: Client) -> None:
    proxy.stall()
    proxy.heal()
    assert await client.ask(b"still here\n") == b"still here\n"
    assert not proxy.fired


async def test_a_response_is_cut_within_a_line(proxy: Proxy, client: Client) -> None:
    proxy.cut(after=9)
    assert await client.ask(b"whole\n") == b"whole\n"
    assert not proxy.fired
    assert await client.ask(b"halved\n") == b"hal"
    assert proxy.fired == {"cut": 1}


async def test_each_connection_is_cut_after_the_same_number_of_bytes(proxy: Proxy, connect: Connect) -> None:
    proxy.cut(after=2)
    assert [await (await connect(proxy)).ask(b"halved\n") for _ in range(3)] == [b"ha"] * 3
    assert proxy.fired == {"cut": 3}


async def test_a_reset_ends_open_connections_and_every_new_one(proxy: Proxy, client: Client, connect: Connect) -> None:
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await client.receive()
    with pytest.raises(ConnectionResetError):
        await (await connect(proxy)).receive()
    assert proxy.fired == {"reset": 2}


async def test_a_refusal_closes_connections_cleanly(proxy: Proxy, client: Client, connect: Connect) -> None:
    proxy.refuse()
    assert await client.receive() == b""
    assert await (await connect(proxy)).receive() == b""
    assert proxy.fired == {"refuse": 2}


@pytest.mark.parametrize("fault", ["stall", "cut", "reset", "refuse"])
async def test_new_connections_pass_after_any_fault(proxy: Proxy, fault: str, connect: Connect) -> None:
    proxy.set(fault)  # type: ignore[arg-type]  # mypy sees a str
    with suppress(TimeoutError, ConnectionError):  # a reset may precede the connection
        client = await connect(proxy)
        client.send(b"spoiled\n")
        assert await client.receive(MOMENT) == b""
    proxy.heal()
    assert await (await connect(proxy)).ask(b"fine\n") == b"fine\n"
    assert proxy.fired == {fault: 1}


async def test_clients_are_reset_while_no_server_listens(proxy: Proxy, port: int, connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nowhere = gone.getsockname()[1]
    with Proxy(nowhere) as orphan, pytest.raises(ConnectionResetError):
        await (await connect(orphan)).ask(b"anybody?\n")
    assert await (await connect(proxy)).ask(b"here\n") == b"here\n"
    assert port != nowhere


async def test_stopping_resets_open_connections(port: int, connect: Connect) -> None:
    proxy = Proxy(port).start()
    client = await connect(proxy)
    assert await client.ask(b"hello\n") == b"hello\n"
    proxy.stop()
    with pytest.raises(ConnectionResetError):
        await client.receive()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
