"""Accepting orders: once per key, with any number of concurrent requests."""

import asyncio
from datetime import timedelta
from functools import partial

import psycopg
import pytest

from services.common.group_commit import GroupCommit
from services.common.idempotency import IdempotencyKeyReused
from services.common.postgres import OUTAGES, Pool, open_pool
from services.order import store, usecases
from services.order.domain import Admission, Admitted, NewOrder, Replay, RequestInFlight
from tests.integration.order.rows import (
    LEASE,
    REPLICA,
    accepted,
    chance,
    end_leases,
    keys,
    rows,
    settlement,
    statuses,
    until,
    wanted,
)
from tests.machine_load import slowdown

RACERS = 8


async def test_a_new_order_is_stored_pending_with_a_lease_by_the_database_clock(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    ((status, attempts, token, lease, due, now_is_before),) = await rows(
        pool,
        b"""SELECT status, attempts, lease_token, lease_until - created_at, next_attempt_at - created_at,
                   lease_until > now() FROM orders""",
    )
    assert (status, attempts, token, lease, due, now_is_before) == ("pending", 1, 1, LEASE, LEASE, True)
    assert (claim.attempt, claim.token, claim.status) == (1, 1, "pending")


async def test_acceptance_is_the_first_entry_of_the_history(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    (event,) = await usecases.history(pool, claim.order_id)
    assert (event.from_, event.to) == (None, "pending")
    assert event.detail == {
        "by": REPLICA,
        "attempt": 1,
        "token": 1,
        "request_id": "request-of-key-1",
        "lease_seconds": LEASE.total_seconds(),
    }


async def test_racing_accepts_of_the_same_keys_admit_each_key_once(pool: Pool) -> None:
    for lap in range(10):
        names = keys(20, f"lap-{lap}")
        results = await race(pool, names)
        assert sum(isinstance(admission, Admitted) for admission in results) == len(names)
        assert sum(isinstance(admission, RequestInFlight) for admission in results) == (RACERS - 1) * len(names)
    assert await rows(pool, b"SELECT count(*), count(DISTINCT idempotency_key) FROM orders") == [(200, 200)]
    assert await rows(pool, b"SELECT count(*), count(DISTINCT order_id) FROM order_events") == [(200, 200)]


async def race(pool: Pool, names: list[str]) -> list[Admission]:
    """Accept the same keys from several connections at once, each in a different order."""
    dice = chance(names[0])

    async def run() -> list[Admission]:
        shuffled = dice.sample(names, len(names))
        return await usecases.accept(pool, LEASE, REPLICA, [wanted(name) for name in shuffled])

    return [
        admission for admissions in await asyncio.gather(*(run() for _ in range(RACERS))) for admission in admissions
    ]


async def test_overlapping_batches_in_any_order_do_not_deadlock(pool: Pool) -> None:
    """Transactions wait for each other in one direction only, since keys are inserted in order."""
    dice = chance(7)
    names = keys(60)

    async def run() -> int:
        batch = dice.sample(names, 40)
        admissions = await usecases.accept(pool, LEASE, REPLICA, [wanted(name) for name in batch])
        return sum(isinstance(admission, Admitted) for admission in admissions)

    for _ in range(30):
        taken = await asyncio.gather(*(run() for _ in range(RACERS)))
        stored = await statuses(pool)
        assert sum(taken) == len(stored) > 0
        await rows(pool, b"TRUNCATE orders")


async def test_a_racing_accept_waits_for_the_others_commit_and_returns_its_order(pool: Pool) -> None:
    async with pool.connection() as first, first.transaction():
        await store.insert_new(first, [wanted("key-1")], LEASE, REPLICA)
        second = asyncio.create_task(usecases.accept(pool, LEASE, "order-2", [wanted("key-1", quantity=2)]))
        await until_someone_waits(pool)
        assert not second.done()
    (admission,) = await second
    assert isinstance(admission, IdempotencyKeyReused)


async def test_a_racing_accept_takes_the_key_when_the_other_rolls_back(pool: Pool) -> None:
    async with pool.connection() as first, first.transaction(force_rollback=True):
        await store.insert_new(first, [wanted("key-1")], LEASE, REPLICA)
        second = asyncio.create_task(usecases.accept(pool, LEASE, "order-2", [wanted("key-1", quantity=2)]))
        await until_someone_waits(pool)
    (admission,) = await second
    assert isinstance(admission, Admitted)
    assert await rows(pool, b"SELECT quantity FROM orders") == [(2,)]


async def until_someone_waits(pool: Pool) -> None:
    """Wait until a session waits for another's lock."""
    await until(lambda: rows(pool, b"SELECT 1 FROM pg_locks WHERE NOT granted"))


async def test_duplicates_within_a_batch_get_the_result_of_the_first(pool: Pool) -> None:
    batch = [wanted("a"), wanted("b"), wanted("a"), wanted("a", quantity=2), wanted("b"), wanted("c")]
    first, second, again, other, second_again, third = await usecases.accept(pool, LEASE, REPLICA, batch)
    for admission in (first, second, third):
        assert isinstance(admission, Admitted)
    for admission in (again, second_again):
        assert isinstance(admission, RequestInFlight)
    assert isinstance(other, IdempotencyKeyReused)
    assert await rows(pool, b"SELECT idempotency_key, quantity FROM orders ORDER BY 1") == [
        ("a", 1),
        ("b", 1),
        ("c", 1),
    ]


async def test_the_first_of_two_bodies_for_a_key_in_a_batch_wins(pool: Pool) -> None:
    first, other = await usecases.accept(pool, LEASE, REPLICA, [wanted("a", quantity=3), wanted("a", quantity=2)])
    assert isinstance(first, Admitted)
    assert isinstance(other, IdempotencyKeyReused)
    assert await rows(pool, b"SELECT quantity FROM orders") == [(3,)]


async def test_admissions_are_returned_in_the_order_of_the_requests(pool: Pool) -> None:
    names = keys(50)
    chance(1).shuffle(names)
    await accepted(pool, *names[::3])
    admissions = await usecases.accept(pool, LEASE, REPLICA, [wanted(name) for name in names])
    for number, (name, admission) in enumerate(zip(names, admissions, strict=True)):
        if number % 3 == 0:
            assert isinstance(admission, RequestInFlight)
            assert admission.members["order_id"] == wanted(name).order_id
        else:
            assert isinstance(admission, Admitted)
            assert admission.claim.order_id == wanted(name).order_id


async def test_a_known_key_returns_the_current_state_of_its_order(pool: Pool) -> None:
    done, waiting, held = await accepted(pool, "done", "waiting", "held")
    await usecases.settle(pool, REPLICA, [settlement(done, "confirmed"), settlement(waiting, "queued", delay=5)])
    first, second, third = await usecases.accept(
        pool, LEASE, REPLICA, [wanted("done"), wanted("waiting"), wanted("held")]
    )
    assert isinstance(first, Replay)
    assert first.order.status == "confirmed"
    assert isinstance(second, Replay)
    assert second.order.status == "queued"
    assert isinstance(third, RequestInFlight)
    await end_leases(pool)
    (third,) = await usecases.accept(pool, LEASE, REPLICA, [wanted("held")])
    assert isinstance(third, Replay)
    assert (third.order.status, third.order.order_id) == ("pending", held.order_id)


async def test_looking_up_a_key_changes_nothing(pool: Pool) -> None:
    assert await usecases.find_by_key(pool, wanted("key-1")) is None
    assert await statuses(pool) == {}
    await accepted(pool, "key-1")
    assert isinstance(await usecases.find_by_key(pool, wanted("key-1")), RequestInFlight)
    assert isinstance(await usecases.find_by_key(pool, wanted("key-1", quantity=2)), IdempotencyKeyReused)


async def test_a_batch_with_an_order_that_cannot_be_stored_stores_none(pool: Pool) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await usecases.accept(pool, LEASE, REPLICA, [wanted("good"), impossible("bad")])
    assert await statuses(pool) == {}
    assert await rows(pool, b"SELECT * FROM order_events") == []


async def test_only_the_bad_order_of_a_group_commit_fails(pool: Pool) -> None:
    group = GroupCommit("test", partial(usecases.accept, pool, LEASE, REPLICA), outages=OUTAGES)
    results = await asyncio.gather(
        *(group.submit(new) for new in [wanted("one"), impossible("bad"), wanted("two")]), return_exceptions=True
    )
    assert isinstance(results[0], Admitted)
    assert isinstance(results[1], psycopg.errors.CheckViolation)
    assert isinstance(results[2], Admitted)
    assert await statuses(pool) == {"one": "pending", "two": "pending"}


def impossible(key: str) -> NewOrder:
    """Return an order that no request body can describe, and that the table rejects."""
    return NewOrder(key, wanted(key).order_id, "ps5", 0, b"", "request")


async def test_an_acceptance_cancelled_before_its_commit_leaves_nothing(pool: Pool, order_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(order_database) as blocker:
        await blocker.execute("LOCK TABLE order_events")
        cancelled = asyncio.create_task(usecases.accept(pool, LEASE, REPLICA, [wanted("key-1")]))
        await until_someone_waits(pool)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert await statuses(pool) == {}


@pytest.mark.timed
async def test_a_replica_stopped_during_an_acceptance_delays_the_others_only_briefly(
    pool: Pool, order_database: str
) -> None:
    """The database ends its transaction before the statements that wait for it time out, so none of them is lost."""
    async with open_pool(order_database, name="stopped", size=1) as other:
        stopped = await other.getconn()
        await stopped.execute("BEGIN")
        await store.insert_new(stopped, [wanted("contested")], LEASE, "order-2")
        async with asyncio.timeout(5 * slowdown()):
            contested, innocent = await usecases.accept(pool, LEASE, REPLICA, [wanted("contested"), wanted("innocent")])
        assert isinstance(contested, Admitted)
        assert isinstance(innocent, Admitted)
        await stopped.close()
        await other.putconn(stopped)


async def test_the_table_enforces_unique_keys_and_order_ids(pool: Pool) -> None:
    await accepted(pool, "key-1")
    again = b"""INSERT INTO orders (order_id, item_id, quantity, status, idempotency_key, fingerprint, attempts,
                                    lease_token)
                SELECT %s, item_id, quantity, status, %s, fingerprint, attempts, lease_token FROM orders"""
    for order_id, key in ((wanted("key-2").order_id, "key-1"), (wanted("key-1").order_id, "key-2")):
        with pytest.raises(psycopg.errors.UniqueViolation):
            await rows(pool, again, order_id, key)


async def test_a_lease_may_be_arbitrarily_short(pool: Pool) -> None:
    await accepted(pool, "key-1", lease=timedelta(0))
    (admission,) = await usecases.accept(pool, LEASE, REPLICA, [wanted("key-1")])
    assert isinstance(admission, Replay)


async def test_a_transaction_stopped_for_too_long_is_reported_as_an_outage(pool: Pool) -> None:
    """It reports an outage, not a bug: nothing was stored, and the request can be repeated with its key."""
    conn = await pool.getconn()
    await conn.execute("BEGIN")
    await store.insert_new(conn, [wanted("key-1")], LEASE, REPLICA)
    session = conn.info.backend_pid
    await until(lambda: rows(pool, b"SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", session))
    with pytest.raises(OUTAGES):
        await conn.commit()
    await pool.putconn(conn)
    assert await statuses(pool) == {}


async def test_a_read_only_database_is_an_outage(pool: Pool) -> None:
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(OUTAGES):
            await store.insert_new(conn, [wanted("key-1")], LEASE, REPLICA)
