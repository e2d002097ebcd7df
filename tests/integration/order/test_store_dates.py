"""Impossible times of unfinished orders are corrected, and no others."""

from collections.abc import Awaitable, Callable

import pytest

from services.common.postgres import Pool
from services.common.settings import SettingsError, read
from services.order import unfinished, usecases
from services.order.backlog import Backlog
from services.order.domain import MAX_LEASE, MAX_RETRY_DELAY, OrderNotDead
from services.order.settings import OrderSettings
from tests.integration.order.rows import LEASE, REPLICA, Row, accepted, keys, queued, rows, settlement
from tests.unit.common.environment import ENVIRON

TIMES = b"""
SELECT created_at <= now(), updated_at <= now(), next_attempt_at - updated_at, lease_until - updated_at FROM orders
"""
AHEAD: bytes = b"""
WITH step AS (UPDATE order_events SET at = at + %s * interval '1 s')
UPDATE orders SET created_at = created_at + %s * interval '1 s', updated_at = updated_at + %s * interval '1 s',
    next_attempt_at = next_attempt_at + %s * interval '1 s', lease_until = lease_until + %s * interval '1 s'
"""


async def written_ahead(pool: Pool, seconds: float) -> None:
    """Shift the times of all rows, as a clock that is ahead would have written them."""
    await rows(pool, AHEAD, *[seconds] * 5)


async def look(pool: Pool) -> unfinished.QueueStats:
    backlog = Backlog(pool, 100, REPLICA)
    return await backlog.refresh()


@pytest.mark.parametrize("ahead", [6.0, 120.0, 86_400.0, 1e9])
async def test_an_order_written_under_a_fast_clock_waits_no_longer_than_intended(pool: Pool, ahead: float) -> None:
    await accepted(pool, "in-hand")
    (claim,) = await accepted(pool, "queued")
    await usecases.settle(pool, REPLICA, [settlement(claim, "queued", delay=8)])
    before = await rows(pool, TIMES)
    await written_ahead(pool, ahead)
    seen = await look(pool)
    assert (seen.depth, seen.misdated) == (1, 0)
    assert seen.oldest_age is not None
    assert 0 <= seen.oldest_age < 5
    assert await rows(pool, TIMES) == before


async def test_the_correction_is_recorded_in_the_history_under_the_current_token(pool: Pool) -> None:
    (claim,) = await accepted(pool, "key-1")
    await written_ahead(pool, 3600)
    await look(pool)
    _, corrected = await usecases.history(pool, claim.order_id)
    assert (corrected.from_, corrected.to) == ("pending", "pending")
    assert {name: corrected.detail[name] for name in ("by", "cause", "token")} == {
        "by": REPLICA,
        "cause": "clock-set-back",
        "token": 1,
    }
    assert 3590 < corrected.detail["ahead_seconds"] < 3600
    assert 9 < corrected.detail["lease_seconds"] <= LEASE.total_seconds()
    (settled,) = await usecases.settle(pool, REPLICA, [settlement(claim, "confirmed")])
    assert settled.status == "confirmed"


BEYOND: dict[str, bytes] = {
    "due in 23 hours": b"UPDATE orders SET next_attempt_at = now() + interval '23 h'",
    "due for ever": b"UPDATE orders SET next_attempt_at = 'infinity'",
    "never due": b"UPDATE orders SET next_attempt_at = NULL",
    "leased for a day": b"UPDATE orders SET lease_until = now() + interval '1 d', next_attempt_at = now()",
    "leased for ever": b"UPDATE orders SET lease_until = 'infinity', next_attempt_at = 'infinity'",
    "written at the end of time": b"UPDATE orders SET updated_at = 'infinity', next_attempt_at = 'infinity'",
}


@pytest.mark.parametrize("spoil", BEYOND.values(), ids=BEYOND.keys())
@pytest.mark.parametrize("reach", ["look", "requeue all", "requeue one"])
async def test_an_order_due_later_than_any_setting_allows_is_due_now(pool: Pool, spoil: bytes, reach: str) -> None:
    (claim,) = await queued(pool, "key-1")
    await rows(pool, spoil)
    reaches: dict[str, Callable[[], Awaitable[object]]] = {
        "look": lambda: look(pool),
        "requeue all": lambda: usecases.requeue(pool, REPLICA, None),
        "requeue one": lambda: usecases.requeue(pool, REPLICA, claim.order_id),
    }
    assert await usecases.claim(pool, LEASE, "worker-1", 10) == []
    await reaches[reach]()
    (taken,) = await usecases.claim(pool, LEASE, "worker-1", 10)
    assert taken.order_id == claim.order_id


@pytest.mark.parametrize(
    "spoil",
    [
        b"SELECT",
        b"UPDATE orders SET next_attempt_at = now() + %s * interval '1 s'" % str(MAX_RETRY_DELAY).encode(),
        b"UPDATE orders SET lease_until = now() + %s * interval '1 s'" % str(MAX_LEASE).encode(),
        b"UPDATE orders SET updated_at = now() + interval '4 s', created_at = now() + interval '4 s'",
    ],
)
async def test_an_order_with_plausible_times_is_not_corrected(pool: Pool, spoil: bytes) -> None:
    (claim,) = await accepted(pool, "key-1")
    await usecases.settle(pool, REPLICA, [settlement(claim, "queued", delay=5)])
    await rows(pool, spoil)
    before = await rows(pool, b"SELECT * FROM orders")
    assert (await look(pool)).misdated == 0
    with pytest.raises(OrderNotDead):
        await usecases.requeue(pool, REPLICA, claim.order_id)
    assert await rows(pool, b"SELECT * FROM orders") == before


async def test_finished_orders_keep_their_times(pool: Pool) -> None:
    claims = await accepted(pool, *keys(3))
    ends = zip(claims, ("confirmed", "failed", "dead"), strict=True)
    await usecases.settle(pool, REPLICA, [settlement(claim, end) for claim, end in ends])  # type: ignore[arg-type]
    await written_ahead(pool, 3600)
    before: list[Row] = await rows(pool, b"SELECT * FROM orders")
    assert (await look(pool)).misdated == 0
    assert await rows(pool, b"SELECT * FROM orders") == before


async def test_a_whole_backlog_is_corrected_in_steps_by_concurrent_workers(pool: Pool) -> None:
    await queued(pool, *keys(1500))
    await written_ahead(pool, 86_400)
    seen = [await look(pool) for _ in range(2)]
    assert seen[-1].misdated == 0
    assert len(await usecases.claim(pool, LEASE, "worker-1", 2000)) == 1500


def test_no_setting_allows_a_longer_lease_than_the_domain() -> None:
    longest = ENVIRON | {"VALERIX_LEASE_SECONDS": str(MAX_LEASE)}
    assert read(OrderSettings, longest).lease_seconds == MAX_LEASE
    with pytest.raises(SettingsError):
        read(OrderSettings, ENVIRON | {"VALERIX_LEASE_SECONDS": str(MAX_LEASE + 1)})
