"""The HTTP client of a load against servers that behave in unusual ways."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.load.http_client import HttpClient, NoResponse, Response

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = b'{"order_id":"o-1","status":"confirmed"}'
ORDER = OrderRequest("ps5", 2, "key-1")


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length"))
    return head + await reader.readexactly(int(length.split(b":")[1]))


def http_response(body: bytes = BODY, status: str = "201 Created", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def expected(http_status: int, **fields: Any) -> Response:
    defaults = {"replayed": False, "retry_after": None, "order_id": "o-1", "order_status": None, "problem": None}
    return Response(http_status=http_status, **defaults | fields)


def client(*urls: str, timeout: float = 5.0, connections: int = 8) -> HttpClient:
    return HttpClient(urls, {"Authorization": "Bearer letmein"}, timeout=timeout, connections=connections)


async def test_an_order_is_one_request_and_connections_are_reused() -> None:
    requests: list[bytes] = []
    connected = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        while True:
            requests.append(await read_request(reader))
            writer.write(http_response(BODY, "201 Created", "Idempotent-Replayed: true"))

    async with serving(handle) as url:
        sender = client(url)
        responses = [await sender.post(ORDER) for _ in range(3)]
        sender.close()
    assert responses == [expected(201, replayed=True, order_status="confirmed")] * 3
    assert connected == 1
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/orders HTTP/1.1\r\n")
    assert b"\r\nIdempotency-Key: key-1\r\n" in head
    assert b"\r\nAuthorization: Bearer letmein\r\n" in head
    assert body == b'{"item_id":"ps5","quantity":2}'


async def test_a_response_may_be_split_or_chunked() -> None:
    chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + BODY[:5] + b"\r\n"
    chunked += b"%x\r\n" % len(BODY[5:]) + BODY[5:] + b"\r\n0\r\n\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for whole in (http_response(), chunked):
            await read_request(reader)
            for byte in whole:
                writer.write(bytes([byte]))
                await writer.drain()

    async with serving(handle) as url:
        sender = client(url)
        assert [(await sender.post(ORDER)).order_id for _ in range(2)] == ["o-1", "o-1"]
        sender.close()


async def test_a_problem_is_read_with_its_retry_after() -> None:
    problem = b'{"type":"urn:valerix:problem:request-in-flight","status":409,"order_id":"o-1"}'

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http_response(problem, "409 Conflict", "Retry-After: 1", "Connection: close"))

    async with serving(handle) as url:
        sender = client(url)
        for _ in range(2):  # on a new connection, since the server closes each
            assert await sender.post(ORDER) == expected(409, retry_after=1.0, problem="request-in-flight")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"", "connection-lost"), (http_response()[:-5], "connection-lost"), (b"SSH-2.0\r\n", "not-http")],
)
async def test_a_truncated_or_invalid_response_is_no_response(sent: bytes, reason: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(sent)
        await writer.drain()

    async with serving(handle) as url:
        with pytest.raises(NoResponse, match=reason):
            await client(url).post(ORDER)


async def test_a_late_response_is_not_taken_for_that_of_the_next_request() -> None:
    late = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"key-1" in await read_request(reader):
            await late.wait()
        writer.write(http_response(b'{"order_id":"o-2","status":"confirmed"}'))
        await read_request(reader)

    async with serving(handle) as url:
        sender = client(url, timeout=0.1)
        with pytest.raises(NoResponse, match="timeout"):
            await sender.post(ORDER)
        late.set()
        assert (await sender.post(OrderRequest("ps5", 2, "key-2"))).order_id == "o-2"
        sender.close()


async def test_an_unreachable_replica_is_skipped_by_concurrent_requests() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(http_response())

    async with serving(handle) as url:
        sender = client("http://127.0.0.1:1", url, connections=64)
        responses = await asyncio.gather(*(sender.post(ORDER) for _ in range(64)), return_exceptions=True)
        sender.close()
    assert responses == [expected(201, order_status="confirmed")] * 64


async def test_replicas_are_used_in_turn_and_unreachable_ones_are_skipped() -> None:
    requests_to: list[int] = []

    def replica(number: int) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_request(reader)
                requests_to.append(number)
                writer.write(http_response())

        return handle

    async with serving(replica(1)) as one, serving(replica(2)) as two:
        sender = client(one, two, "http://127.0.0.1:9")
        assert [(await sender.post(ORDER)).outcome for _ in range(6)] == ["confirmed"] * 6
        sender.close()
    assert set(requests_to) == {1, 2}
    with pytest.raises(NoResponse, match="connection-refused"):
        await client("http://127.0.0.1:9", "http://127.0.0.1:9").post(ORDER)
