"""Use cases of orders. Each function writes with one statement over a list, which is its transaction.

Reads after it need not be in the same transaction: a used key and a settled order do not change back.
"""

import uuid
from datetime import datetime, timedelta

from services.common.postgres import Pool
from services.common.refusals import Refusal
from services.order import store, unfinished
from services.order.domain import (
    Admission,
    Admitted,
    Claim,
    NewOrder,
    Order,
    OrderNotDead,
    OrderNotFound,
    Replay,
    Settlement,
    Status,
    StoredOrder,
    admit,
    apply_settlement,
)
from services.order.store import Event
from services.order.unfinished import QueueStats

REQUEUE_TIMEOUT = 6.0  # seconds, for many dead orders; the server's own statement timeout is shorter


async def accept(pool: Pool, lease: timedelta, by: str, new_orders: list[NewOrder]) -> list[Admission]:
    """Store each new order once per key and commit before any side effect.

    Returns one admission per request, in order: Admitted, or a replay or refusal for a key that is in use.
    """
    first: dict[str, NewOrder] = {}
    for new in new_orders:
        first.setdefault(new.key, new)
    pool.ensure_commits()
    async with pool.connection() as conn:
        inserted = await store.insert_new(conn, list(first.values()), lease, by)
        contested = {new.key for new in new_orders if new.order_id not in inserted or new is not first[new.key]}
        stored = await store.by_keys(conn, list(contested)) if contested else {}
    return [
        Admitted(_first_claim(new, inserted[new.order_id]))
        if new is first[new.key] and new.order_id in inserted
        else admit(new, stored[new.key])
        for new in new_orders
    ]


async def find_by_key(pool: Pool, new_order: NewOrder) -> Replay | Refusal | None:
    """Return the replay or refusal for a key that is in use; None if it is free."""
    async with pool.connection() as conn:
        stored: dict[str, StoredOrder] = await store.by_keys(conn, [new_order.key])
    return admit(new_order, stored[new_order.key]) if new_order.key in stored else None


async def settle(pool: Pool, by: str, settlements: list[Settlement]) -> list[Order]:
    """Store each settlement whose claim is still in force. Returns all orders as they are now."""
    pool.ensure_commits()
    async with pool.connection() as conn:
        written = await store.settle(conn, settlements, by)
        at = [written.get((s.claim.order_id, s.claim.token)) for s in settlements]
        lost = [s.claim.order_id for s, when in zip(settlements, at, strict=True) if when is None]
        found = await store.by_ids(conn, lost) if lost else {}
    return [
        found[s.claim.order_id] if when is None else apply_settlement(s, when)
        for s, when in zip(settlements, at, strict=True)
    ]


async def claim(pool: Pool, lease: timedelta, by: str, limit: int, among: list[uuid.UUID] | None = None) -> list[Claim]:
    """Claim up to `limit` orders that are due and without a lease."""
    pool.ensure_commits()
    async with pool.connection() as conn:
        return await store.claim_due(conn, lease, by, limit, among)


async def requeue(pool: Pool, by: str, order_id: uuid.UUID | None) -> list[uuid.UUID]:
    """Reset the attempts of one dead order, or with None of all, and correct the times of misdated ones.

    Returns the ids of both. Raises OrderNotFound or OrderNotDead.
    """
    order_ids = None if order_id is None else [order_id]
    pool.ensure_commits()
    async with pool.connection() as conn:
        conn.limit = REQUEUE_TIMEOUT
        requeued = await store.requeue(conn, order_ids, by)
        requeued += await unfinished.correct_dates(conn, by, order_ids)
        if order_id is None or requeued:
            return requeued
        found = await store.by_ids(conn, [order_id])
    if order_id not in found:
        raise OrderNotFound(f"No order with id {order_id}")
    raise OrderNotDead(f"Order {order_id} is {found[order_id].status}", order_id=order_id)


async def get_order(pool: Pool, order_id: uuid.UUID) -> Order:
    """Return one order. Raises OrderNotFound."""
    async with pool.connection() as conn:
        found = await store.by_ids(conn, [order_id])
    if order_id not in found:
        raise OrderNotFound(f"No order with id {order_id}")
    return found[order_id]


async def history(pool: Pool, order_id: uuid.UUID) -> list[Event]:
    """Return each transition and claim of one order, oldest first. Raises OrderNotFound."""
    async with pool.connection() as conn:
        events = await store.events_of(conn, order_id)
    if not events:
        raise OrderNotFound(f"No order with id {order_id}")
    return events


async def page(
    pool: Pool, status: Status | None, item_id: str | None, before: int | None, limit: int
) -> list[tuple[int, Order]]:
    """Return up to `limit` orders with their positions, newest first, all before position `before`."""
    async with pool.connection() as conn:
        if status is None:
            return await store.page(conn, item_id, before, limit)
        return await store.page_with_status(conn, status, item_id, before, limit)


async def order_of_key(pool: Pool, key: str) -> Order | None:
    """Return the order of an idempotency key, if the key is in use."""
    async with pool.connection() as conn:
        stored = await store.by_keys(conn, [key])
    return stored[key].order if key in stored else None


async def platform_id(pool: Pool) -> uuid.UUID:
    """Return the id that the order database gave its platform."""
    async with pool.connection() as conn:
        return await store.platform_id(conn)


async def origin(pool: Pool) -> tuple[str, str]:
    """Return the identity and the secret of the database. Raises psycopg.ProgrammingError if it cannot be read."""
    async with pool.connection() as conn:
        return await store.origin(conn)


async def measure_queue(pool: Pool, by: str) -> tuple[QueueStats, int]:
    """Correct the times of misdated orders. Returns the queue's size and the number of orders corrected."""
    async with pool.connection() as conn:
        stats = await unfinished.queue_stats(conn)
        if not stats.misdated:
            return stats, 0
        corrected = await unfinished.correct_dates(conn, by)
        return await unfinished.queue_stats(conn), len(corrected)


def _first_claim(new: NewOrder, created_at: datetime) -> Claim:
    return Claim(
        order_id=new.order_id,
        item_id=new.item_id,
        quantity=new.quantity,
        status="pending",
        attempt=1,
        token=1,
        idempotency_key=new.key,
        created_at=created_at,
        traceparent=new.traceparent,
    )
