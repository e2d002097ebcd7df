"""Settling orders: only by the holder of the current claim, and only once."""

import asyncio

import pytest

from services.common.postgres import Pool
from services.order import usecases
from services.order.domain import Claim, OrderNotDead, OrderNotFound, Status
from tests.integration.order.rows import (
    LEASE,
    REPLICA,
    accepted,
    end_leases,
    events,
    keys,
    queued,
    rows,
    settlement,
    statuses,
    wanted,
)


async def reclaimed(pool: Pool, *names: str) -> tuple[list[Claim], list[Claim]]:
    """Return orders whose leases ended and that another process claimed: stale and current claims, by key."""
    stale = await accepted(pool, *names)
    await end_leases(pool)
    fresh = {claim.order_id: claim for claim in await usecases.claim(pool, LEASE, "worker-1", len(names))}
    return stale, [fresh[claim.order_id] for claim in stale]


@pytest.mark.parametrize("status", ["confirmed", "failed", "dead"])
async def test_a_settled_order_has_no_lease_and_is_never_due(pool: Pool, status: Status) -> None:
    (claim,) = await accepted(pool, "key-1")
    (order,) = await usecases.settle(pool, REPLICA, [settlement(claim, status, "why")])
    assert (order.status, order.reason, order.attempts) == (status, "why", 1)
    assert await rows(pool, b"SELECT status, reason, lease_until, next_attempt_at FROM orders") == [
        (status, "why", None, None)
    ]
    assert await usecases.claim(pool, LEASE, "worker-1", 10) == []


async def test_a_queued_order_is_due_after_its_delay_by_the_database_clock(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    await usecases.settle(pool, REPLICA, [settlement(claim, "queued", "timeout", delay=2.5)])
    assert await rows(
        pool,
        b"""SELECT status, reason, lease_until, extract(epoch FROM next_attempt_at - updated_at)::float8 FROM orders""",
    ) == [("queued", "timeout", None, 2.5)]
    assert await usecases.claim(pool, LEASE, "worker-1", 10) == []
    await end_leases(pool)
    assert len(await usecases.claim(pool, LEASE, "worker-1", 10)) == 1


async def test_each_settlement_is_recorded_in_the_history_with_its_details(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    await usecases.settle(pool, "order-9", [settlement(claim, "queued", delay=0)])
    (claim,) = await usecases.claim(pool, LEASE, "worker-1", 1)
    await usecases.settle(pool, "worker-1", [settlement(claim, "confirmed")])
    history = await usecases.history(pool, claim.order_id)
    assert [(event.from_, event.to, event.detail["by"]) for event in history] == [
        (None, "pending", REPLICA),
        ("pending", "queued", "order-9"),
        ("queued", "queued", "worker-1"),
        ("queued", "confirmed", "worker-1"),
    ]
    assert history[2].detail == {
        "by": "worker-1",
        "attempt": 2,
        "token": 2,
        "cause": "due",
        "lease_seconds": LEASE.total_seconds(),
    }
    assert history[3].detail == {"by": "worker-1", "attempt": 2, "token": 2}
    assert [event.at for event in history] == sorted(event.at for event in history)


async def test_a_stale_token_settles_nothing_and_returns_the_stored_order(pool: Pool) -> None:
    (stale,), (fresh,) = await reclaimed(pool, "key-1")
    (stored,) = await usecases.settle(pool, "order-1", [settlement(stale, "failed", "insufficient-stock")])
    assert (stored.status, stored.reason) == ("pending", None)
    await usecases.settle(pool, "worker-1", [settlement(fresh, "confirmed")])
    (stored,) = await usecases.settle(pool, "order-1", [settlement(stale, "failed", "insufficient-stock")])
    assert (stored.status, stored.reason) == ("confirmed", None)
    assert await events(pool, stale.order_id) == [(None, "pending"), ("pending", "pending"), ("pending", "confirmed")]


async def test_a_stale_token_does_not_end_the_current_lease(pool: Pool) -> None:
    (stale,), (fresh,) = await reclaimed(pool, "key-1")
    before = await rows(pool, b"SELECT lease_until, lease_token, attempts, updated_at FROM orders")
    await usecases.settle(pool, "order-1", [settlement(stale, "queued", delay=0)])
    assert await rows(pool, b"SELECT lease_until, lease_token, attempts, updated_at FROM orders") == before
    (order,) = await usecases.settle(pool, "worker-1", [settlement(fresh, "confirmed")])
    assert order.status == "confirmed"


@pytest.mark.parametrize("final", ["confirmed", "failed", "dead"])
@pytest.mark.parametrize("then", ["queued", "confirmed", "failed", "dead"])
async def test_a_settled_order_does_not_change_even_for_its_own_token(pool: Pool, final: Status, then: Status) -> None:
    (claim,) = await accepted(pool, "key-1")
    await usecases.settle(pool, REPLICA, [settlement(claim, final)])
    (stored,) = await usecases.settle(pool, REPLICA, [settlement(claim, then, delay=0 if then == "queued" else None)])
    assert stored.status == final
    assert await statuses(pool) == {"key-1": final}
    assert len(await events(pool, claim.order_id)) == 2


async def test_settling_uses_up_a_claim_even_if_the_order_is_queued(pool: Pool) -> None:
    (claim,) = await queued(pool, "key-1")
    (stored,) = await usecases.settle(pool, REPLICA, [settlement(claim, "failed")])
    assert stored.status == "queued"
    (fresh,) = await usecases.claim(pool, LEASE, "worker-1", 1)
    (stored,) = await usecases.settle(pool, REPLICA, [settlement(claim, "failed")])
    assert stored.status == "queued"
    (stored,) = await usecases.settle(pool, REPLICA, [settlement(fresh, "confirmed")])
    assert stored.status == "confirmed"


async def test_an_expired_lease_still_settles_unless_another_claimed_the_order(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    await end_leases(pool)
    (stored,) = await usecases.settle(pool, REPLICA, [settlement(claim, "confirmed")])
    assert stored.status == "confirmed"


async def test_a_batch_settles_current_claims_and_returns_results_in_order(pool: Pool) -> None:
    names = keys(6)
    stale, fresh = await reclaimed(pool, *names)
    batch = [
        settlement(stale[0], "failed"),
        settlement(fresh[1], "confirmed"),
        settlement(fresh[2], "failed", "unknown-item"),
        settlement(stale[3], "confirmed"),
        settlement(fresh[4], "queued", "timeout", delay=1),
        settlement(fresh[5], "dead"),
    ]
    stored = await usecases.settle(pool, REPLICA, batch)
    assert [order.idempotency_key for order in stored] == names
    assert [order.status for order in stored] == ["pending", "confirmed", "failed", "pending", "queued", "dead"]
    assert [order.reason for order in stored] == [None, None, "unknown-item", None, "timeout", None]


async def test_a_stale_and_the_current_holder_in_one_batch_get_the_current_holders_result(pool: Pool) -> None:
    (stale,), (fresh,) = await reclaimed(pool, "key-1")
    stored = await usecases.settle(pool, REPLICA, [settlement(stale, "failed"), settlement(fresh, "confirmed")])
    assert [order.status for order in stored] == ["confirmed", "confirmed"]
    assert await events(pool, stale.order_id) == [(None, "pending"), ("pending", "pending"), ("pending", "confirmed")]


async def test_a_claim_and_a_racing_late_settlement_never_both_win(pool: Pool) -> None:
    """At the end of a lease, its holder settles while a worker claims: only one of them succeeds."""
    won = {"settled": 0, "claimed": 0}
    for lap in range(60):
        (claim,) = await accepted(pool, f"lap-{lap}")
        await end_leases(pool)
        (stored,), claims = await asyncio.gather(
            usecases.settle(pool, "order-1", [settlement(claim, "confirmed")]),
            usecases.claim(pool, LEASE, "worker-1", 10),
        )
        assert (stored.status == "confirmed") == (not claims)
        won["claimed" if claims else "settled"] += 1
        for taken in claims:
            (stored,) = await usecases.settle(pool, "worker-1", [settlement(taken, "confirmed")])
            assert stored.status == "confirmed"
    assert set((await statuses(pool)).values()) == {"confirmed"}
    assert sum(won.values()) == 60


async def test_racing_settlements_of_the_same_claim_write_it_once(pool: Pool) -> None:
    ends: list[Status] = ["confirmed", "failed", "dead", "confirmed", "failed", "dead"]
    for name in keys(20):
        (claim,) = await accepted(pool, name)
        stored = await asyncio.gather(*(usecases.settle(pool, REPLICA, [settlement(claim, end)]) for end in ends))
        assert len({order.status for (order,) in stored}) == 1
        assert await events(pool, claim.order_id) == [(None, "pending"), ("pending", stored[0][0].status)]


async def test_a_requeued_dead_order_is_due_now_with_all_its_attempts(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    await usecases.settle(pool, REPLICA, [settlement(claim, "dead", "attempts-exhausted")])
    assert await usecases.requeue(pool, "order-2", claim.order_id) == [claim.order_id]
    order = await usecases.get_order(pool, claim.order_id)
    assert (order.status, order.reason, order.attempts) == ("queued", "requeued", 0)
    assert await events(pool, claim.order_id) == [(None, "pending"), ("pending", "dead"), ("dead", "queued")]
    (fresh,) = await usecases.claim(pool, LEASE, "worker-1", 10)
    assert (fresh.attempt, fresh.token) == (1, 3)


async def test_a_claim_from_before_a_requeue_settles_nothing(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    await usecases.settle(pool, REPLICA, [settlement(claim, "dead")])
    await usecases.requeue(pool, "order-2", claim.order_id)
    (stored,) = await usecases.settle(pool, REPLICA, [settlement(claim, "failed")])
    assert stored.status == "queued"


async def test_requeueing_all_takes_only_dead_orders(pool: Pool) -> None:
    dead, failed, confirmed, _ = await accepted(pool, "dead", "failed", "confirmed", "pending")
    await usecases.settle(
        pool,
        REPLICA,
        [settlement(dead, "dead"), settlement(failed, "failed"), settlement(confirmed, "confirmed")],
    )
    assert await usecases.requeue(pool, "order-2", None) == [dead.order_id]
    assert await usecases.requeue(pool, "order-2", None) == []
    assert await statuses(pool) == {
        "dead": "queued",
        "failed": "failed",
        "confirmed": "confirmed",
        "pending": "pending",
    }


async def test_concurrent_requeues_requeue_each_order_once(pool: Pool) -> None:
    claims = await accepted(pool, *keys(50))
    await usecases.settle(pool, REPLICA, [settlement(claim, "dead") for claim in claims])
    taken = await asyncio.gather(*(usecases.requeue(pool, f"order-{number}", None) for number in range(4)))
    assert sorted(order_id for order_ids in taken for order_id in order_ids) == sorted(c.order_id for c in claims)


@pytest.mark.parametrize("status", ["pending", "queued", "confirmed", "failed"])
async def test_an_order_that_is_not_dead_is_not_requeued(pool: Pool, status: Status) -> None:
    (claim,) = await accepted(pool, "key-1")
    if status != "pending":
        await usecases.settle(pool, REPLICA, [settlement(claim, status, delay=5 if status == "queued" else None)])
    with pytest.raises(OrderNotDead):
        await usecases.requeue(pool, REPLICA, claim.order_id)
    assert await statuses(pool) == {"key-1": status}


async def test_an_unknown_order_is_not_found(pool: Pool) -> None:
    nobody = wanted("nobody").order_id
    with pytest.raises(OrderNotFound):
        await usecases.requeue(pool, REPLICA, nobody)
    with pytest.raises(OrderNotFound):
        await usecases.get_order(pool, nobody)
    with pytest.raises(OrderNotFound):
        await usecases.history(pool, nobody)
