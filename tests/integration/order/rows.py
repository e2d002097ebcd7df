"""Functions that write to an order database in tests and read it back."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from services.common.postgres import Pool
from services.order import usecases
from services.order.domain import Admitted, Claim, NewOrder, OrderBody, Settlement, Status, new_order

LEASE = timedelta(seconds=10)
REPLICA = "order-1"

Row = tuple[Any, ...]


def chance(seed: int | str) -> random.Random:
    """Return a generator of random numbers with a fixed seed."""
    return random.Random(seed)  # noqa: S311 - not a secret


async def until(look: Callable[[], Awaitable[Any]], within: float = 5.0) -> None:
    """Wait until `look` returns a true value."""
    async with asyncio.timeout(within):
        while not await look():  # noqa: ASYNC110 - the condition is in another process
            await asyncio.sleep(0)


def wanted(key: str, item_id: str = "ps5", quantity: int = 1) -> NewOrder:
    return new_order(key, OrderBody(item_id, quantity), f"request-of-{key}")


def keys(count: int, prefix: str = "key") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


async def accepted(pool: Pool, *names: str, lease: timedelta = LEASE) -> list[Claim]:
    """Accept new orders with these keys and return their claims."""
    admissions = await usecases.accept(pool, lease, REPLICA, [wanted(name) for name in names])
    return [admission.claim for admission in admissions if isinstance(admission, Admitted)]


async def queued(pool: Pool, *names: str) -> list[Claim]:
    """Accept orders and queue them, due now; return the claims that queued them, which are spent."""
    claims = await accepted(pool, *names)
    await usecases.settle(pool, REPLICA, [settlement(claim, "queued", delay=0) for claim in claims])
    return claims


def settlement(claim: Claim, status: Status, reason: str | None = None, delay: float | None = None) -> Settlement:
    return Settlement(claim, status, reason, claim.attempt, delay, {"attempt": claim.attempt, "token": claim.token})


async def rows(pool: Pool, query: bytes, *parameters: Any) -> list[Row]:
    async with pool.connection() as conn:
        cursor = await conn.execute(query, parameters)
        return await cursor.fetchall() if cursor.description else []


async def end_leases(pool: Pool) -> None:
    """End every lease and make every next attempt due."""
    await rows(
        pool,
        b"""UPDATE orders SET lease_until = CASE WHEN lease_until IS NOT NULL THEN least(lease_until, now()) END,
                              next_attempt_at = least(next_attempt_at, now())
            WHERE id IN (SELECT id FROM orders WHERE status IN ('pending', 'queued') FOR UPDATE SKIP LOCKED)""",
    )


async def statuses(pool: Pool) -> dict[str, str]:
    """Return the status of each key."""
    return dict(await rows(pool, b"SELECT idempotency_key, status FROM orders"))


async def events(pool: Pool, order_id: uuid.UUID) -> list[tuple[str | None, str]]:
    return [(event.from_, event.to) for event in await usecases.history(pool, order_id)]
