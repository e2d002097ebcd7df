"""The client for many orders, and servers that do not keep to what is usual."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from valerix_cli.clients.sends import Wanted
from valerix_cli.load.wire import Answer, Client, Unanswered

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = b'{"order_id":"o-1","status":"confirmed"}'
WANTED = Wanted("ps5", 2, "key-1")


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length"))
    return head + await reader.readexactly(int(length.split(b":")[1]))


def response(body: bytes = BODY, status: str = "201 Created", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answered(http_status: int, **told: Any) -> Answer:
    nothing = {"replayed": False, "retry_after": None, "order_id": "o-1", "order_status": None, "problem": None}
    return Answer(http_status=http_status, **nothing | told)


def client(*urls: str, timeout: float = 5.0, connections: int = 8) -> Client:
    return Client(urls, {"Authorization": "Bearer letmein"}, timeout=timeout, connections=connections)


async def test_an_order_is_one_request_and_connections_are_kept() -> None:
    seen: list[bytes] = []
    connected = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        while True:
            seen.append(await request(reader))
            writer.write(response(BODY, "201 Created", "Idempotent-Replayed: true"))

    async with serving(talk) as url:
        sender = client(url)
        answers = [await sender.post(WANTED) for _ in range(3)]
        sender.close()
    assert answers == [answered(201, replayed=True, order_status="confirmed")] * 3
    assert connected == 1
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/orders HTTP/1.1\r\n")
    assert b"\r\nIdempotency-Key: key-1\r\n" in head
    assert b"\r\nAuthorization: Bearer letmein\r\n" in head
    assert body == b'{"item_id":"ps5","quantity":2}'


async def test_an_answer_may_come_in_pieces_or_in_chunks() -> None:
    chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\n"
    chunked += b"%x\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n\r\n"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for whole in (response(), chunked):
            await request(reader)
            for byte in whole:
                writer.write(bytes([byte]))
                await writer.drain()

    async with serving(talk) as url:
        sender = client(url)
        assert [(await sender.post(WANTED)).order_id for _ in range(2)] == ["o-1", "o-1"]
        sender.close()


async def test_a_problem_is_read_with_when_to_come_back() -> None:
    problem = b'{"type":"urn:valerix:problem:request-in-flight","status":409,"order_id":"o-1"}'

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(response(problem, "409 Conflict", "Retry-After: 1", "Connection: close"))

    async with serving(talk) as url:
        sender = client(url)
        for _ in range(2):  # on a new connection, since each of these is closed
            assert await sender.post(WANTED) == answered(409, retry_after=1.0, problem="request-in-flight")


@pytest.mark.parametrize(
    ("sent", "why"), [(b"", "connection-lost"), (response()[:-5], "connection-lost"), (b"SSH-2.0\r\n", "not-http")]
)
async def test_an_answer_that_breaks_off_or_is_none_is_no_answer(sent: bytes, why: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(sent)
        await writer.drain()

    async with serving(talk) as url:
        with pytest.raises(Unanswered, match=why):
            await client(url).post(WANTED)


async def test_an_answer_that_comes_too_late_is_never_the_next_ones() -> None:
    late = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"key-1" in await request(reader):
            await late.wait()
        writer.write(response(b'{"order_id":"o-2","status":"confirmed"}'))
        await request(reader)

    async with serving(talk) as url:
        sender = client(url, timeout=0.1)
        with pytest.raises(Unanswered, match="timeout"):
            await sender.post(WANTED)
        late.set()
        assert (await sender.post(Wanted("ps5", 2, "key-2"))).order_id == "o-2"
        sender.close()


async def test_one_that_is_gone_is_passed_over_by_all_who_are_sent_to_it_at_once() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(response())

    async with serving(talk) as url:
        sender = client("http://127.0.0.1:1", url, connections=64)
        answers = await asyncio.gather(*(sender.post(WANTED) for _ in range(64)), return_exceptions=True)
        sender.close()
    assert answers == [answered(201, order_status="confirmed")] * 64


async def test_replicas_are_asked_in_turn_and_one_that_is_gone_is_passed_over() -> None:
    asked: list[int] = []

    def replica(number: int) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await request(reader)
                asked.append(number)
                writer.write(response())

        return talk

    async with serving(replica(1)) as one, serving(replica(2)) as two:
        sender = client(one, two, "http://127.0.0.1:9")
        assert [(await sender.post(WANTED)).said for _ in range(6)] == ["confirmed"] * 6
        sender.close()
    assert set(asked) == {1, 2}
    with pytest.raises(Unanswered, match="connection-refused"):
        await client("http://127.0.0.1:9", "http://127.0.0.1:9").post(WANTED)
