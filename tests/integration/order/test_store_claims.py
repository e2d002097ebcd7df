"""Claiming orders: those that are due and unclaimed, each by one process."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from services.common.postgres import Pool
from services.order import store, unfinished, usecases
from services.order.domain import Admitted, Claim
from tests.integration.order.rows import (
    LEASE,
    REPLICA,
    accepted,
    end_leases,
    keys,
    queued,
    rows,
    settlement,
    wanted,
)
from tests.machine_load import slowdown


async def test_every_due_order_is_claimed_once_by_concurrent_workers(pool: Pool) -> None:
    orders = await queued(pool, *keys(300))

    async def take() -> list[Claim]:
        taken: list[Claim] = []
        while claims := await usecases.claim(pool, LEASE, "worker-1", 7):
            assert len(claims) <= 7
            taken += claims
        return taken

    hands = await asyncio.gather(*(take() for _ in range(8)))
    taken = [claim for hand in hands for claim in hand]
    assert sorted(claim.order_id for claim in taken) == sorted(claim.order_id for claim in orders)
    assert {(claim.token, claim.attempt, claim.status) for claim in taken} == {(2, 2, "queued")}


async def test_a_claim_leases_the_order_by_the_database_clock(pool: Pool) -> None:
    await queued(pool, "key-1")
    await usecases.claim(pool, timedelta(seconds=7), "worker-1", 1)
    assert await rows(
        pool, b"SELECT lease_until - updated_at, next_attempt_at - updated_at, lease_until > now() FROM orders"
    ) == [(timedelta(seconds=7), timedelta(seconds=7), True)]


async def test_a_claim_continues_the_trace_of_the_order(pool: Pool) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = msgspec.structs.replace(wanted("key-1"), traceparent=traceparent)
    for admission in await usecases.accept(pool, LEASE, REPLICA, [traced, wanted("key-2")]):
        assert isinstance(admission, Admitted)
        await usecases.settle(pool, REPLICA, [settlement(admission.claim, "queued", delay=0)])
    claims = await usecases.claim(pool, LEASE, "worker-1", 2)
    assert {claim.idempotency_key: claim.traceparent for claim in claims} == {"key-1": traceparent, "key-2": None}


async def test_each_claim_is_recorded_with_whether_a_lease_had_expired(pool: Pool) -> None:
    (claim,) = await queued(pool, "key-1")
    await usecases.claim(pool, LEASE, "worker-1", 1)
    await end_leases(pool)
    await usecases.claim(pool, timedelta(milliseconds=1500), "worker-2", 1)
    _, _, due, left = await usecases.history(pool, claim.order_id)
    assert (due.from_, due.to, due.detail["cause"], due.detail["by"]) == ("queued", "queued", "due", "worker-1")
    assert left.detail == {"by": "worker-2", "attempt": 3, "token": 3, "cause": "lease-ended", "lease_seconds": 1.5}


async def test_a_leased_order_is_not_claimed_until_its_lease_ends(pool: Pool) -> None:
    await accepted(pool, "fresh")
    await queued(pool, "claimed")
    assert len(await usecases.claim(pool, LEASE, "worker-1", 10)) == 1
    assert await usecases.claim(pool, LEASE, "worker-1", 10) == []
    await end_leases(pool)
    again = await usecases.claim(pool, LEASE, "worker-1", 10)
    assert {(claim.status, claim.token) for claim in again} == {("pending", 2), ("queued", 3)}


@pytest.mark.parametrize(
    "not_yet",
    [
        b"UPDATE orders SET lease_until = now() + interval '1 min', next_attempt_at = now() - interval '1 s'",
        b"UPDATE orders SET lease_until = now() - interval '1 s', next_attempt_at = now() + interval '1 min'",
    ],
)
async def test_an_order_is_claimed_only_after_both_its_lease_and_its_delay(pool: Pool, not_yet: bytes) -> None:
    await queued(pool, "key-1")
    await rows(pool, not_yet)
    assert await usecases.claim(pool, LEASE, "worker-1", 10) == []


async def test_the_order_due_longest_is_claimed_first(pool: Pool) -> None:
    names = keys(5)
    await queued(pool, *names)
    for age, name in enumerate(names):
        await rows(
            pool,
            b"UPDATE orders SET next_attempt_at = now() - %s * interval '1 s' WHERE idempotency_key = %s",
            age,
            name,
        )
    taken = [(await usecases.claim(pool, LEASE, "worker-1", 1))[0].order_id for _ in names]
    assert taken == [wanted(name).order_id for name in reversed(names)]


async def test_a_wake_up_claims_only_named_orders_that_are_due(pool: Pool) -> None:
    due, other = await queued(pool, "due", "other")
    (leased,) = await accepted(pool, "leased")
    (done,) = await accepted(pool, "done")
    await usecases.settle(pool, REPLICA, [settlement(done, "confirmed")])
    named = [due.order_id, leased.order_id, done.order_id, wanted("nobody").order_id, due.order_id]
    (taken,) = await usecases.claim(pool, LEASE, "worker-1", 10, named)
    assert taken.order_id == due.order_id
    assert await usecases.claim(pool, LEASE, "worker-1", 10, []) == []
    (taken,) = await usecases.claim(pool, LEASE, "worker-1", 10)
    assert taken.order_id == other.order_id


async def test_a_claim_skips_orders_that_another_is_claiming(pool: Pool) -> None:
    await queued(pool, *keys(10))
    async with pool.connection() as slow, slow.transaction():
        first = await store.claim_due(slow, LEASE, "worker-1", 4)
        async with asyncio.timeout(2 * slowdown()):
            second = await usecases.claim(pool, LEASE, "worker-1", 10)
    assert len(first) == 4
    assert len(second) == 6
    assert not {claim.order_id for claim in first} & {claim.order_id for claim in second}


async def test_a_rolled_back_claim_leaves_the_order_to_the_next_worker(pool: Pool) -> None:
    await queued(pool, "key-1")
    async with pool.connection() as conn, conn.transaction(force_rollback=True):
        await store.claim_due(conn, LEASE, "worker-1", 1)
    (claim,) = await usecases.claim(pool, LEASE, "worker-1", 1)
    assert (claim.token, claim.attempt) == (2, 2)


async def test_a_claim_ignores_the_workers_clock(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose clock is a year ahead claims no leased order, and its own leases end no later."""
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    await accepted(pool, "key-1")
    assert await usecases.claim(pool, LEASE, "worker-1", 10) == []
    assert await rows(pool, b"SELECT lease_until < now() + interval '11 s' FROM orders") == [(True,)]


async def test_the_queue_stats_exclude_orders_in_their_first_attempt(pool: Pool) -> None:
    async def look() -> unfinished.QueueStats:
        async with pool.connection() as conn:
            return await unfinished.queue_stats(conn)

    assert await look() == unfinished.QueueStats(0, None, 0)
    pending, dead, _ = await accepted(pool, "pending", "dead", "in-hand")
    await queued(pool, "queued-1", "queued-2")
    await usecases.settle(pool, REPLICA, [settlement(dead, "dead")])
    assert ((await look()).depth, (await look()).dead) == (2, 1)
    await rows(pool, b"UPDATE orders SET lease_until = now() WHERE order_id = %s", pending.order_id)
    await rows(pool, b"UPDATE orders SET created_at = now() - interval '90 s' WHERE idempotency_key = 'queued-1'")
    seen = await look()
    assert seen.depth == 3
    assert seen.oldest_age is not None
    assert 90 <= seen.oldest_age < 100
