"""An order from its request to its end, with processes that are stopped in between."""

import asyncio
import uuid
from typing import Any

import psycopg
import pytest
from prometheus_client import REGISTRY

from services.common.idempotency import IdempotencyKeyReused
from services.common.postgres import OUTAGES, Pool
from services.common.redis import Redis
from services.common.refusals import DatabaseUnavailable
from services.order import usecases
from services.order.domain import QueueFull, RequestInFlight, Status, UnknownItem
from services.order.processing import Placement
from services.order.wakeups import STREAM
from tests.integration.order.replica import Start
from tests.integration.order.rows import (
    LEASE,
    accepted,
    end_leases,
    events,
    keys,
    queued,
    rows,
    settlement,
    statuses,
    until,
    wanted,
)
from tests.machine_load import slowdown
from tests.unit.order.fake_inventory import Fault, Reply, reply

DEDUCTIONS = "/api/inventory/deductions"


async def test_an_order_is_stored_deducted_settled_and_cached(pool: Pool, start: Start, client: Redis) -> None:
    replica = start()
    placed = await replica.processing.place(wanted("key-1"))
    assert (placed.order.status, placed.replayed) == ("confirmed", False)
    assert await events(pool, placed.order.order_id) == [(None, "pending"), ("pending", "confirmed")]
    await until(lambda: client.exists("idempotency:key-1"))
    assert await replica.processing.place(wanted("key-1")) == Placement(placed.order, replayed=True)
    assert len(replica.warehouse.batches) == 1


async def test_a_refused_order_is_cached_too(start: Start) -> None:
    replica = start()
    replica.warehouse.answer = lambda _: {"status": 409, "reason": "insufficient-stock", "available": 0}
    for replayed in (False, True, True):
        placed = await replica.processing.place(wanted("key-1"))
        assert (placed.order.status, placed.order.reason) == ("failed", "insufficient-stock")
        assert placed.replayed is replayed


async def test_racing_repeats_place_one_order_and_send_it_once(start: Start) -> None:
    replicas = [start(REPLICA=f"order-{number}") for number in range(3)]
    results = await asyncio.gather(
        *(replica.processing.place(wanted("key-1")) for replica in replicas for _ in range(70)), return_exceptions=True
    )
    placed = [result for result in results if isinstance(result, Placement)]
    refused = [result for result in results if isinstance(result, RequestInFlight)]
    assert len(placed) + len(refused) == 210
    assert len([each for each in placed if not each.replayed]) == 1
    assert {each.order.status for each in placed} == {"confirmed"}
    assert sum(len(batch) for replica in replicas for batch in replica.warehouse.batches) == 1


@pytest.mark.parametrize(
    ("failure", "limit"), [(Reply(500), "3"), (Fault.RESET, "3"), (Fault.SILENT, "0.2"), (Fault.REFUSED, "3")]
)
async def test_an_unknown_outcome_is_queued_and_announced(
    start: Start, client: Redis, failure: Reply | Fault, limit: str
) -> None:
    replica = start(INVENTORY_TIMEOUT_SECONDS=limit)
    replica.warehouse.script(DEDUCTIONS, failure)
    placed = await replica.processing.place(wanted("key-1"))
    assert (placed.order.status, placed.order.attempts) == ("queued", 1)
    await until(lambda: client.xlen(STREAM))
    entries: Any = await client.xrange(STREAM)
    assert [fields[b"order_id"].decode() for _, fields in entries] == [str(placed.order.order_id)]
    again = await replica.processing.place(wanted("key-1"))
    assert (again.order.status, again.replayed) == ("queued", True)


async def test_an_order_that_was_not_sent_does_not_count_an_attempt(start: Start) -> None:
    replica = start()
    replica.breaker_sync.breaker.force("open")
    placed = await replica.processing.place(wanted("key-1"))
    assert (placed.order.status, placed.order.attempts, placed.order.reason) == ("queued", 0, "breaker-open")
    assert replica.warehouse.asked == []


async def test_an_unknown_item_is_refused_before_anything_is_stored(pool: Pool, start: Start) -> None:
    replica = start()
    replica.warehouse.responses["/api/inventory/unicorn"] = reply(404, {"type": "urn:valerix:problem:item-not-found"})
    with pytest.raises(UnknownItem):
        await replica.processing.place(wanted("key-1", "unicorn"))
    assert await statuses(pool) == {}


def conflicts() -> dict[str, float]:
    kinds = ("in-flight", "reused")
    return {kind: REGISTRY.get_sample_value("idempotency_conflicts_total", {"kind": kind}) or 0 for kind in kinds}


async def test_a_full_queue_refuses_new_orders_and_answers_known_ones(pool: Pool, start: Start) -> None:
    replica = start(BACKLOG_CAP="3")
    replica.breaker_sync.breaker.force("open")
    for name in keys(3):
        assert (await replica.processing.place(wanted(name))).order.status == "queued"
    before = conflicts()
    with pytest.raises(QueueFull) as full:
        await replica.processing.place(wanted("new"))
    assert full.value.headers == {"Retry-After": "5"}
    assert conflicts() == before
    assert (await replica.processing.place(wanted("key-1"))).replayed
    with pytest.raises(IdempotencyKeyReused):
        await replica.processing.place(wanted("key-1", quantity=2))
    assert conflicts()["reused"] == before["reused"] + 1
    assert len(await statuses(pool)) == 3


async def test_the_queue_is_full_when_the_last_count_plus_orders_queued_since_reach_the_cap(
    pool: Pool, start: Start
) -> None:
    backlog = start(BACKLOG_CAP="5").backlog
    await queued(pool, *keys(3))
    await backlog.refresh()
    full = []
    for _ in range(2):
        full.append(backlog.is_full)
        backlog.increment()
    full.append(backlog.is_full)
    await backlog.refresh()  # replaces the increments by the stored count
    full.append(backlog.is_full)
    assert full == [False, False, True, False]


async def test_a_failed_refresh_keeps_the_counts(pool: Pool, start: Start) -> None:
    backlog = start(BACKLOG_CAP="2").backlog
    backlog.increment()
    backlog.increment()
    await rows(pool, b"ALTER TABLE orders RENAME TO elsewhere")
    with pytest.raises(psycopg.Error):
        await backlog.refresh()
    assert backlog.is_full


async def test_orders_queued_during_a_refresh_are_counted(pool: Pool, start: Start) -> None:
    backlog = start(BACKLOG_CAP="1").backlog
    async with pool.connection() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        looking = [asyncio.create_task(backlog.refresh()) for _ in range(2)]
        await until(lambda: rows(pool, b"SELECT 1 FROM pg_locks WHERE NOT granted"))
        backlog.increment()
    await asyncio.gather(*looking)
    assert backlog.is_full


async def take_over(pool: Pool, status: Status) -> None:
    """Claim and settle an order as a worker does after its holder was stopped beyond the lease."""
    await end_leases(pool)
    claims = await usecases.claim(pool, LEASE, "worker-1", 10)
    delay = 0 if status == "queued" else None
    await usecases.settle(
        pool, "worker-1", [settlement(claim, status, "insufficient-stock", delay) for claim in claims]
    )


@pytest.mark.parametrize("became", ["confirmed", "failed", "queued", "dead"])
@pytest.mark.parametrize(
    "answer",
    [
        {"status": 200, "repeated": True},
        {"status": 409, "reason": "insufficient-stock"},
        {"status": 500},
    ],
)
async def test_a_replica_stopped_past_its_lease_changes_nothing_and_returns_the_stored_result(
    pool: Pool, start: Start, became: Status, answer: dict[str, Any]
) -> None:
    """Stopped during its deduction; meanwhile a worker claimed the order and settled it."""
    replica = start(patient=True)
    replica.warehouse.answer = lambda _: answer
    placing = asyncio.create_task(replica.processing.place(wanted("key-1")))
    await until(lambda: asyncio.sleep(0, replica.warehouse.batches))
    await take_over(pool, became)
    before = await rows(pool, b"SELECT status, reason, attempts, lease_token, updated_at FROM orders")
    replica.warehouse.release_all()
    placed = await placing
    assert placed.order.status == became
    assert await rows(pool, b"SELECT status, reason, attempts, lease_token, updated_at FROM orders") == before


async def test_a_replica_stopped_before_sending_finds_the_order_settled(pool: Pool, start: Start) -> None:
    (stale,) = await accepted(pool, "key-1")
    await take_over(pool, "confirmed")
    replica = start()
    replica.warehouse.answer = lambda _: {"status": 200, "repeated": True}
    assert (await replica.processing.process(stale)).status == "confirmed"
    assert await rows(pool, b"""SELECT count(*) FROM order_events WHERE "to" = 'confirmed'""") == [(1,)]


async def test_two_workers_on_one_order_settle_it_once(pool: Pool, start: Start) -> None:
    """A worker stopped beyond its lease and its successor, each with its own result."""
    await queued(pool, "key-1")
    (first,) = await usecases.claim(pool, LEASE, "worker-1", 1)
    await end_leases(pool)
    (second,) = await usecases.claim(pool, LEASE, "worker-1", 1)
    one, two = start(REPLICA="worker-1"), start(REPLICA="worker-2")
    one.warehouse.answer = lambda _: {"status": 500}
    processed = await asyncio.gather(one.processing.process(first), two.processing.process(second))
    assert [order.status for order in processed][1] == "confirmed"
    assert await statuses(pool) == {"key-1": "confirmed"}


@pytest.mark.parametrize(
    ("ledger", "status"),
    [
        ({"transactions": [{"transaction_type": "deduct"}], "refusal": None}, "confirmed"),
        ({"transactions": [], "refusal": {"reason": "insufficient-stock"}}, "failed"),
        ({"transactions": [], "refusal": None}, "dead"),
        (None, "queued"),
    ],
)
async def test_inventory_is_asked_for_the_outcome_when_the_attempts_are_used_up(
    pool: Pool, start: Start, ledger: dict[str, Any] | None, status: Status
) -> None:
    replica = start(MAX_ATTEMPTS="2")
    replica.warehouse.responses[DEDUCTIONS] = Reply(500)
    order_id = wanted("key-1").order_id
    replica.warehouse.responses[f"/api/inventory/transactions/{order_id}"] = (
        Reply(503) if ledger is None else reply(200, ledger)
    )
    await queued(pool, "key-1")
    (claim,) = await usecases.claim(pool, LEASE, "worker-1", 1)
    assert claim.attempt == 2
    assert (await replica.processing.process(claim)).status == status


async def test_an_order_past_its_attempts_is_looked_up_and_not_sent_again(pool: Pool, start: Start) -> None:
    replica = start(MAX_ATTEMPTS="1")
    replica.warehouse.responses[f"/api/inventory/transactions/{wanted('key-1').order_id}"] = Reply(503)
    await queued(pool, "key-1")
    for attempt in (2, 3, 4):
        (claim,) = await usecases.claim(pool, LEASE, "worker-1", 1)
        assert claim.attempt == attempt
        assert (await replica.processing.process(claim)).status == "queued"
        await end_leases(pool)
    assert replica.warehouse.batches == []


async def test_an_order_whose_settlement_fails_keeps_its_lease(pool: Pool, start: Start) -> None:
    replica = start(patient=True)
    placing = asyncio.create_task(replica.processing.place(wanted("key-1")))
    await until(lambda: asyncio.sleep(0, replica.warehouse.batches))
    await rows(pool, SHUT_DOWN)
    await rows(pool, b"CREATE TRIGGER fail BEFORE UPDATE ON orders EXECUTE FUNCTION shut_down()")
    replica.warehouse.release_all()
    with pytest.raises(OUTAGES):
        await placing
    await rows(pool, b"DROP TRIGGER fail ON orders")
    with pytest.raises(RequestInFlight):
        await replica.processing.place(wanted("key-1"))
    await end_leases(pool)
    replica.warehouse.answer = lambda _: {"status": 200, "repeated": True}
    (claim,) = await usecases.claim(pool, LEASE, "worker-1", 1)
    assert (await replica.processing.process(claim)).status == "confirmed"


SHUT_DOWN = b"""
CREATE OR REPLACE FUNCTION shut_down() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'shutting down' USING ERRCODE = 'admin_shutdown'; END $$
"""


@pytest.mark.timed
async def test_a_database_that_stalls_before_the_settlement_does_not_delay_the_response(
    pool: Pool, start: Start
) -> None:
    """The order is stored, and its lease will end; the client can repeat the request with the same key."""
    replica = start(patient=True, patience=0.3)
    placing = asyncio.create_task(replica.processing.place(wanted("key-1")))
    await until(lambda: asyncio.sleep(0, replica.warehouse.batches))
    async with pool.connection() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE orders")
        replica.warehouse.release_all()
        async with asyncio.timeout(slowdown()):
            with pytest.raises(DatabaseUnavailable) as unavailable:
                await placing
    assert unavailable.value.headers == {"Retry-After": "1"}
    await replica.processing.close()
    assert (await replica.processing.place(wanted("key-1"))).order.status == "confirmed"


@pytest.mark.timed
async def test_a_database_that_stalls_before_the_acceptance_does_not_delay_the_response(
    pool: Pool, start: Start
) -> None:
    replica = start(patience=0.2)
    async with pool.connection() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE orders")
        async with asyncio.timeout(slowdown()):
            with pytest.raises(DatabaseUnavailable):
                await replica.processing.place(wanted("key-1"))
    await replica.processing.close()


async def test_an_order_of_a_disconnected_client_is_settled(pool: Pool, start: Start) -> None:
    replica = start(patient=True)
    placing = asyncio.create_task(replica.processing.place(wanted("key-1")))
    await until(lambda: asyncio.sleep(0, replica.warehouse.batches))
    placing.cancel()
    replica.warehouse.release_all()
    await replica.processing.close()
    await end_leases(pool)
    replica.warehouse.answer = lambda _: {"status": 200, "repeated": True}
    for claim in await usecases.claim(pool, LEASE, "worker-1", 1):
        await replica.processing.process(claim)
    assert await statuses(pool) == {"key-1": "confirmed"}


async def test_closing_finishes_every_order_in_flight_and_updates_redis(start: Start, client: Redis) -> None:
    replica = start(patient=True)
    placing = [asyncio.create_task(replica.processing.place(wanted(name))) for name in keys(20)]
    await until(lambda: asyncio.sleep(0, sum(map(len, replica.warehouse.batches)) == 20))
    closing = asyncio.create_task(replica.processing.close())
    replica.warehouse.release_all()
    await closing
    assert {placed.order.status for placed in await asyncio.gather(*placing)} == {"confirmed"}
    assert await client.exists(*(f"idempotency:{name}" for name in keys(20))) == 20


async def test_a_hundred_orders_share_their_commits(pool: Pool, start: Start) -> None:
    replica = start()
    await replica.processing.place(wanted("first"))
    placed = await asyncio.gather(*(replica.processing.place(wanted(name)) for name in keys(100)))
    assert {each.order.status for each in placed} == {"confirmed"}
    assert [each.order.idempotency_key for each in placed] == keys(100)
    transactions = await rows(pool, b"SELECT count(DISTINCT xmin::text) FROM orders")
    assert transactions[0][0] < 50
    sent = [uuid.UUID(line["order_id"]) for batch in replica.warehouse.batches for line in batch]
    assert len(sent) == len(set(sent)) == 101
