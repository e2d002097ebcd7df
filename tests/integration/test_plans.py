"""Statements are planned while their tables are small, and the plans are kept as these grow: reads must not grow."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from uuid import uuid4

import pytest

from services.common.postgres import Pool, open_pool
from services.inventory import usecases as inventory
from services.inventory.domain import Line
from services.order import usecases as order
from tests.integration.inventory.service import add_item
from tests.integration.order.rows import LEASE, REPLICA, accepted, keys, settlement, wanted

ENOUGH = 12  # executions until psycopg and PostgreSQL keep a generic plan
BATCHES, EACH = 10, 300  # orders stored after that
LINES = 10
AT_MOST = BATCHES * EACH // 4  # rows read for those: a scan of a whole table reads more, an index few

_MEASUREMENTS, _PAUSE = 120, 0.5  # seconds between measurements, in which autovacuum may finish


@pytest.fixture
async def orders(order_database: str) -> AsyncIterator[Pool]:
    """A pool of one connection, so that every statement uses the plan that was made first."""
    async with open_pool(order_database, name="test", size=1) as pool:
        yield pool


@pytest.fixture
async def stock(inventory_database: str) -> AsyncIterator[Pool]:
    async with open_pool(inventory_database, name="test", size=1) as pool:
        yield pool


async def rows_read(pool: Pool) -> int:
    """Return the number of rows that all sessions of this database have read so far, from tables and indexes."""
    async with pool.connection() as conn:
        await conn.execute("SELECT pg_stat_force_next_flush()")
        cursor = await conn.execute(
            """
            SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)
                 + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)
            """
        )
        (row,) = await cursor.fetchall()
    return int(row[0])


async def reads_little(measure: Callable[[int], Awaitable[dict[str, int]]]) -> None:
    """Measure until each step has read fewer than AT_MOST rows; a stale plan reads too many each time.

    Index entries of deleted rows are skipped only once no transaction, such as autovacuum, may still see them.
    """
    read: dict[str, int] = {}
    for number in range(_MEASUREMENTS):
        again = await measure(number)
        read = {step: min(rows, read.get(step, rows)) for step, rows in again.items()}
        if all(rows < AT_MOST for rows in read.values()):
            return
        await asyncio.sleep(_PAUSE)
    pytest.fail(f"rows read, at the least: {read}")


async def test_no_order_query_reads_more_rows_with_thousands_of_orders(orders: Pool) -> None:
    async def live(names: list[str]) -> dict[str, int]:
        """Accept orders, repeat them, queue, claim and confirm them; return the rows that each step read."""
        read = [await rows_read(orders)]
        claims = await accepted(orders, *names)
        read.append(await rows_read(orders))
        await order.accept(orders, LEASE, REPLICA, [wanted(name) for name in names])
        read.append(await rows_read(orders))
        await order.settle(orders, REPLICA, [settlement(claim, "queued", delay=0) for claim in claims])
        read.append(await rows_read(orders))
        claims = await order.claim(orders, LEASE, REPLICA, len(names))
        read.append(await rows_read(orders))
        await order.settle(orders, REPLICA, [settlement(claim, "confirmed") for claim in claims])
        assert len(claims) == len(names)
        return dict(zip(("accept", "repeat", "settle", "claim"), (b - a for a, b in pairwise(read)), strict=True))

    for number in range(ENOUGH):
        await live(keys(LINES, f"early-{number}"))
    for number in range(BATCHES):
        await live(keys(EACH, f"many-{number}"))
    await reads_little(lambda number: live(keys(LINES, f"late-{number}")))


async def test_no_deduction_query_reads_more_rows_with_thousands_of_deductions(
    stock: Pool, inventory_database: str
) -> None:
    item = add_item(inventory_database, 1_000_000)

    async def serve(count: int) -> dict[str, int]:
        """Deduct new orders and repeat them; return the rows that each step read."""
        lines = [Line(uuid4(), item, 1) for _ in range(count)]
        read = [await rows_read(stock)]
        for _ in range(2):
            await inventory.deduct_batch(stock, lines)
            read.append(await rows_read(stock))
        return dict(zip(("new", "repeated"), (b - a for a, b in pairwise(read)), strict=True))

    for _ in range(ENOUGH):
        await serve(LINES)
    for _ in range(BATCHES):
        await serve(EACH)
    await reads_little(lambda _: serve(LINES))
