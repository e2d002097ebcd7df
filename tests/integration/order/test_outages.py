"""PostgreSQL stalled, killed and restarted: clients get an error in time, and service is fully restored."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from services.common.connections import CHECK_LIMIT, STATEMENT_LIMIT, Connection, StatementTimeout
from services.common.postgres import OUTAGES, Pool, check_schema, migrate, open_pool
from services.common.redis import BestEffort
from services.common.refusals import DatabaseUnavailable
from tests.integration.order.replica import Replica
from tests.integration.order.rows import end_leases, keys, statuses, until, wanted
from tests.machine_load import slowdown
from tests.processes import stopped
from tests.streams import closing
from valerix_cli.local.servers import PostgresServer, running

pytestmark = pytest.mark.timed

SIZE = 6
NOT_SERVED: tuple[type[Exception], ...] = (DatabaseUnavailable, *OUTAGES)


class Mortal:
    """A PostgreSQL of the test that can be stalled."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.url = server.url("postgres")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server and all its children."""
        pid = int((self.server.data / "postmaster.pid").read_text().splitlines()[0])
        parent = psutil.Process(pid)
        for process in [parent, *parent.children()]:
            os.kill(process.pid, number)


@pytest.fixture
def mortal(scratch: Path) -> Iterator[Mortal]:
    directory = scratch / f"mortal-{time.monotonic_ns()}"
    directory.mkdir()
    with running(PostgresServer.at(directory, password="only-for-this-test", fsync=False)) as server:
        migrate(server.url("postgres"), "services.order")
        yield Mortal(server)


@pytest.fixture
async def own_pool(mortal: Mortal) -> AsyncIterator[Pool]:
    async with open_pool(mortal.url, name="test", size=SIZE) as opened:
        await opened.wait(10)
        yield opened


async def is_whole(pool: Pool) -> bool:
    """Return True if every connection is idle in the pool: none leaked or lost."""
    stats = pool.get_stats()
    return stats["pool_available"] == stats["pool_size"] == SIZE


async def is_served(replica: Replica) -> bool:
    try:
        placed = await replica.processing.place(wanted(f"after-{time.monotonic_ns()}"))
    except NOT_SERVED:
        return False
    return placed.order.status == "confirmed"


async def test_a_stalled_database_is_reported_in_time_and_used_again_when_it_resumes(
    mortal: Mortal, own_pool: Pool, redis: BestEffort
) -> None:
    replica = Replica(own_pool, redis)
    assert await is_served(replica)
    mortal.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        placing = (replica.processing.place(wanted(name)) for name in keys(40))
        results = await asyncio.gather(*placing, return_exceptions=True)
        assert all(isinstance(result, NOT_SERVED) for result in results), results
        assert not await is_served(replica)
        assert time.monotonic() - began < 7 * slowdown()
        began = time.monotonic()
        with pytest.raises((TimeoutError, *NOT_SERVED)):
            async with asyncio.timeout(3 * slowdown()):  # as the health check does
                await check_schema(own_pool, "services.order")
        assert time.monotonic() - began < 3.5 * slowdown()
    finally:
        mortal.send(signal.SIGCONT)
    await until(lambda: is_served(replica), within=5)
    await until(lambda: is_whole(own_pool), within=5)
    await every_order_ends(replica, own_pool)


async def every_order_ends(replica: Replica, pool: Pool) -> None:
    """Assert that orders which were stored although their clients got an error end like any other."""
    await end_leases(pool)
    await replica.worker.sweep()
    await replica.worker.drain()
    assert set((await statuses(pool)).values()) == {"confirmed"}
    sent = {line["order_id"] for batch in replica.warehouse.batches for line in batch}
    assert len(sent) == len(await statuses(pool))
    await replica.finish()


async def test_a_database_that_was_killed_is_used_again_as_soon_as_it_is_back(scratch: Path, redis: BestEffort) -> None:
    directory = scratch / f"killed-{time.monotonic_ns()}"
    directory.mkdir()
    server = PostgresServer.at(directory, password="only-for-this-test", fsync=False)
    with running(server) as first:
        migrate(first.url("postgres"), "services.order")
        stack = contextlib.AsyncExitStack()
        pool = await stack.enter_async_context(open_pool(first.url("postgres"), name="test", size=SIZE))
        replica = Replica(pool, redis)
        assert await is_served(replica)
        Mortal(first).send(signal.SIGKILL)
    async with stack:
        began = time.monotonic()
        placing = (replica.processing.place(wanted(name)) for name in keys(40))
        results = await asyncio.gather(*placing, return_exceptions=True)
        assert all(isinstance(result, NOT_SERVED) for result in results), results
        assert time.monotonic() - began < 4 * slowdown()
        with running(first):
            await until(lambda: is_served(replica), within=3)
            await until(lambda: is_whole(pool), within=5)
            await every_order_ends(replica, pool)


def frozen(pool: Pool, *connections: Connection) -> contextlib.AbstractContextManager[None]:
    """Stop the backends of these connections, or of all idle ones; the server itself continues."""
    return stopped([conn.pgconn.backend_pid for conn in connections or list(pool._pool)])  # noqa: SLF001 - there is no public access


async def test_a_statement_timeout_in_the_client_replaces_the_connection(own_pool: Pool) -> None:
    async with own_pool.connection() as conn:
        conn.limit = 0.3
        with frozen(own_pool, conn), pytest.raises(StatementTimeout):
            await conn.execute("SELECT 1")
    await until(lambda: is_whole(own_pool), within=2)
    async with own_pool.connection() as conn:
        assert conn.limit == STATEMENT_LIMIT


async def test_a_cancelled_statement_does_not_wait_for_a_frozen_server(own_pool: Pool) -> None:
    began = time.monotonic()
    async with own_pool.connection() as conn:
        with frozen(own_pool, conn), pytest.raises(TimeoutError):
            await asyncio.wait_for(conn.execute("SELECT 1"), 0.2)
    assert time.monotonic() - began < STATEMENT_LIMIT * slowdown()
    await until(lambda: is_whole(own_pool), within=2)


async def test_idle_connections_that_are_dead_are_replaced_together(own_pool: Pool) -> None:
    with frozen(own_pool):
        began = time.monotonic()
        await own_pool.check()
        assert time.monotonic() - began < 2 * CHECK_LIMIT * slowdown()
        await until(lambda: is_whole(own_pool), within=2)
        async with own_pool.connection() as conn:
            await conn.execute("SELECT 1")


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("unable to perform operation on <TCPTransport closed=True>"),
        ValueError("Invalid file descriptor: -1"),
        asyncio.InvalidStateError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=repr,
)
async def test_every_transport_error_counts_as_an_outage(
    own_pool: Pool, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """The event loop is made to raise where psycopg waits, since no transport here does so on demand."""

    def broken(*_: object) -> None:
        raise failure

    async with own_pool.connection() as conn:
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.get_running_loop(), "add_reader", broken)
            with pytest.raises(psycopg.OperationalError):
                await conn.execute("SELECT pg_sleep(0.01)")
        assert conn.closed
    await until(lambda: is_whole(own_pool), within=2)


async def test_an_invalid_response_of_postgres_counts_as_an_outage(own_pool: Pool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward everything up to the first query; respond to that with bytes outside of PostgreSQL's protocol."""
        there, back = await asyncio.open_connection("127.0.0.1", port)
        async with closing(writer), closing(back):
            while chunk := await reader.read(65536):
                if b"SELECT" in chunk:
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe" * 10)
                    break
                back.write(chunk)
                writer.write(await there.read(65536))
            await writer.drain()

    port = int(psycopg.conninfo.conninfo_to_dict(own_pool.conninfo)["port"] or 0)  # type: ignore[arg-type]
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        strange = server.sockets[0].getsockname()[1]
        url = str(own_pool.conninfo).replace(f":{port}/", f":{strange}/")
        async with open_pool(url, name="strange", size=1) as pool:
            with pytest.raises(OUTAGES):
                async with pool.connection() as conn:
                    await conn.execute("SELECT 1")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limit on unacknowledged data is Linux's")
async def test_a_vanished_database_host_is_detected_by_the_kernel(pool: Pool) -> None:
    async with pool.connection() as conn:
        with socket.socket(fileno=os.dup(conn.fileno())) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
