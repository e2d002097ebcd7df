"""A growing table of orders: the partitionings that keep one order per key, on a real server.

None of this is implemented. docs/deploy.md describes the result of each test.
"""

import asyncio
from typing import LiteralString

import psycopg
import pytest
import redis

from services.common.postgres import Pool, open_pool
from services.order import usecases
from services.order.domain import Admitted
from tests.benchmarks.partitions import partition
from tests.e2e.shop import Shop
from tests.integration.order.rows import LEASE, REPLICA, accepted, keys, queued, settlement, wanted
from tests.processes import Processes
from valerix_cli.audit import Sources, audit

PARTITIONS = 4
ARCHIVE: LiteralString = """
WITH old AS (
    SELECT id FROM orders
    WHERE status IN ('confirmed', 'failed') AND updated_at < now() - %(retention)s::interval
    ORDER BY id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM orders USING old WHERE orders.id = old.id RETURNING orders.*
)
INSERT INTO orders_archive SELECT * FROM gone
"""
"""Move up to `batch` orders that ended more than `retention` ago, in one statement: each is in exactly one table."""


def partitioned(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as conn:
        partition(conn, PARTITIONS)
    return url


def with_archive(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE orders_archive (LIKE orders) PARTITION BY RANGE (updated_at)")
        conn.execute("CREATE TABLE orders_archive_rest PARTITION OF orders_archive DEFAULT")


@pytest.mark.parametrize("key", ["UNIQUE (idempotency_key)", "UNIQUE (order_id)"])
def test_partitions_by_time_cannot_ensure_one_order_per_key(order_database: str, key: str) -> None:
    with psycopg.connect(order_database, autocommit=True) as conn:
        conn.execute(
            """CREATE TABLE by_month (LIKE orders INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (created_at)"""
        )
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="must include all partitioning columns"):
            conn.execute(f"ALTER TABLE by_month ADD {key}".encode())
        conn.execute("ALTER TABLE by_month ADD UNIQUE (idempotency_key, created_at)")
        for month in (1, 2):
            conn.execute(
                f"""CREATE TABLE by_month_{month} PARTITION OF by_month
                    FOR VALUES FROM ('2026-0{month}-01') TO ('2026-0{month + 1}-01')""".encode()
            )
        for order_id, month in ((1, 1), (2, 2)):
            conn.execute(
                """INSERT INTO by_month (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts,
                                         lease_token, created_at)
                   VALUES (lpad(%s::text, 32, '0')::uuid, 'ps5', 1, 'confirmed', 'the same key', '', 1, 1,
                           make_date(2026, %s, 1))""",
                [order_id, month],
            )
        assert conn.execute("SELECT count(*) FROM by_month WHERE idempotency_key = 'the same key'").fetchone() == (2,)


async def test_partitions_by_key_hash_ensure_one_order_per_key(order_database: str) -> None:
    async with open_pool(partitioned(order_database), name="test", size=8) as pool:
        names = keys(40)
        racing = [usecases.accept(pool, LEASE, REPLICA, [wanted(name) for name in names]) for _ in range(8)]
        admissions = [admission for batch in await asyncio.gather(*racing) for admission in batch]
        assert sum(isinstance(admission, Admitted) for admission in admissions) == len(names)
        async with pool.connection() as conn:
            cursor = await conn.execute(
                "SELECT count(*), count(DISTINCT idempotency_key), count(DISTINCT order_id), "
                "count(DISTINCT tableoid) FROM orders"
            )
            assert await cursor.fetchone() == (len(names), len(names), len(names), PARTITIONS)
        with pytest.raises(psycopg.errors.UniqueViolation):
            async with pool.connection() as conn:
                await conn.execute(
                    """INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts,
                                           lease_token)
                       VALUES (gen_random_uuid(), 'ps5', 1, 'confirmed', %s, '', 1, 1)""",
                    [names[0]],
                )


@pytest.mark.long
def test_the_services_run_unchanged_on_partitions_by_key_hash(
    services: Processes, order_database: str, inventory_database: str
) -> None:
    shop = Shop(services, partitioned(order_database), inventory_database, orders=2)
    shop.stock("ps5", 100)
    services.start(*shop.everyone)
    shop.chaos(partial_failure_rate=0.3, seed=1)
    for number in range(40):
        for _ in range(3):
            assert shop.place(key=f"k-{number}", at=number % 2).status_code in {201, 202, 409}
    shop.calm()
    assert set(shop.wait_settled(30).values()) == {"confirmed"}
    assert len(shop.statuses()) == 40
    shop.assert_exactly_one_effect()
    assert audit(Sources(order_database, inventory_database)).verdict == "clean"


async def confirmed(pool: Pool, names: list[str]) -> None:
    claims = await accepted(pool, *names)
    await usecases.settle(pool, REPLICA, [settlement(claim, "confirmed") for claim in claims])


async def test_finished_orders_are_archived_in_batches_once_each(order_database: str) -> None:
    with_archive(order_database)
    async with open_pool(order_database, name="test", size=4) as pool:
        await confirmed(pool, keys(50, "old"))
        await queued(pool, *keys(5, "waiting"))

        async def move() -> int:
            async with pool.connection() as conn:
                return (await conn.execute(ARCHIVE, {"retention": "0", "batch": 10})).rowcount

        moved = await asyncio.gather(*(move() for _ in range(3)))
        assert sum(moved) == 30, "three at once took ten each, none of which another had"
        assert [await move() for _ in range(3)] == [10, 10, 0]
        async with pool.connection() as conn:
            cursor = await conn.execute(
                """SELECT count(*), count(DISTINCT key) FROM (
                       SELECT idempotency_key AS key FROM orders UNION ALL
                       SELECT idempotency_key FROM orders_archive) AS o"""
            )
            assert await cursor.fetchone() == (55, 55)
            kept = await conn.execute("SELECT DISTINCT status FROM orders")
            assert await kept.fetchall() == [("queued",)]


@pytest.mark.long
@pytest.mark.parametrize(("quantity", "status"), [(1, "confirmed"), (2, "failed")])
def test_a_repeat_of_an_archived_order_deducts_no_stock(
    quantity: int, status: str, services: Processes, order_database: str, inventory_database: str, redis_url: str
) -> None:
    """The order id is derived from the key, and inventory keeps one result per order id: the first."""
    with_archive(order_database)
    shop = Shop(services, order_database, inventory_database)
    shop.stock("ps5", 10)
    services.start(*shop.everyone)
    first = shop.place(key="long-ago")
    assert first.status_code == 201
    with psycopg.connect(order_database, autocommit=True) as conn:
        assert conn.execute(ARCHIVE, {"retention": "0", "batch": 10}).rowcount == 1
    found = audit(Sources(order_database, inventory_database))
    assert {rule.name for rule in found.invariants if rule.broken} == {"deducted-means-ordered", "terminal-stays"}
    with redis.Redis.from_url(redis_url) as cache:
        cache.flushall()  # it caches the earlier response for a while
    again = shop.place(key="long-ago", quantity=quantity)
    assert (again.status_code, again.json()["order_id"]) == (
        201 if status == "confirmed" else 409,
        first.json()["order_id"],
    )
    assert [str(one) for one in shop.statuses()] == [first.json()["order_id"]]
    assert set(shop.statuses().values()) == {status}
    assert shop.quantity() == 9
