"""What the warehouse does. What takes several statements is one transaction, by name."""

import asyncio
import contextlib
from typing import TypeAlias
from uuid import UUID

import msgspec
import psycopg.errors

from services.common import crash_points
from services.common.background import spawn
from services.common.crash_points import crash_point
from services.common.group_commit import GroupCommit
from services.common.idempotency import IdempotencyKeyReused
from services.common.postgres import Pool
from services.inventory import domain, gremlins, store
from services.inventory.domain import ItemNotFound, Line, Outcome
from services.inventory.gremlins import Fault
from services.inventory.leases import Lease, Leases
from services.inventory.metrics import DEDUCTIONS, RESTOCKS
from services.inventory.store import StoredRefusal, Transaction

Deductions: TypeAlias = GroupCommit[Line, Outcome]

TRIES = 5
COMMIT_LIMIT = 2.5  # seconds that a caller waits for its order to be decided


class Restocked(msgspec.Struct, frozen=True):
    """`quantity` is what the item has now."""

    item_id: str
    added: int
    quantity: int
    repeated: bool


class Ledger(msgspec.Struct, frozen=True):
    """What became of one order here; nothing yet when both are empty."""

    order_id: UUID
    transactions: list[Transaction]
    refusal: StoredRefusal | None


def serve(deductions: Deductions, leases: Leases, line: Line, attempt: int) -> "asyncio.Future[Outcome | Fault]":
    """Deduct one line with the next commit, unless a gremlin is faster; all endpoints come through here.

    The result may be a TimeoutError: the commit takes longer than a caller waits.
    """
    lease = leases.live()
    if lease is None:
        return deductions.submit(line)  # type: ignore[return-value]  # a future of one of the two will do
    return spawn(_haunted(deductions, lease, line, attempt), awaited=True)


async def _haunted(deductions: Deductions, lease: Lease, line: Line, attempt: int) -> Outcome | Fault:
    if lease.roll("crash", line.order_id, attempt):
        return gremlins.crash(lease.activation, line.order_id, attempt)
    outcome = await deductions.submit(line)
    late = lease.roll("latency", line.order_id, attempt)
    lost = lease.roll("partial_failure", line.order_id, attempt)  # before the wait, which the caller may well cut short
    if late:
        await lease.linger()
    return gremlins.loss(lease.activation, line.order_id, attempt) if lost else outcome


async def deduct(pool: Pool, lines: list[Line]) -> list[Outcome]:
    """Give each line what it asks for, once per order, or refuse it for good. One outcome per line, in order."""
    pool.ensure_commits()
    if (outcomes := await _deduct_all(pool, lines)) is not None:
        return outcomes
    for _ in range(TRIES - 1):
        with contextlib.suppress(psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
            return await _deduct(pool, lines)
    return await _deduct(pool, lines)


async def _deduct_all(pool: Pool, lines: list[Line]) -> list[Outcome] | None:
    """Deduct new orders that can all be served, in one trip to the database; None when it takes a closer look.

    A process that is to die between the steps of a deduction takes them one by one.
    """
    if crash_points.is_armed() or len({line.order_id for line in lines}) < len(lines):
        return None
    left: dict[str, int] | None = None
    async with pool.connection() as conn:
        with contextlib.suppress(psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
            left = await store.deduct_all(conn, lines)
    if left is None:
        return None
    DEDUCTIONS.inc(len(lines))
    for line in lines:
        left[line.item_id] += line.quantity
    return domain.decide(left, {}, lines)


async def _deduct(pool: Pool, lines: list[Line]) -> list[Outcome]:
    """Look at what is in stock and what was answered before, decide line by line, write what is new."""
    async with pool.connection() as conn, conn.transaction():
        stock, answered = await store.lock_and_recall(conn, lines)
        outcomes = domain.decide(stock, answered, lines)
        changes = domain.changes(lines, outcomes)
        if changes.deductions or changes.refusals:
            await store.write_outcomes(conn, changes)
            crash_point("after-insert")
        crash_point("before-commit")
    crash_point("after-commit")
    DEDUCTIONS.inc(len(changes.deductions))
    return outcomes


async def restock(pool: Pool, item_id: str, quantity: int, key: str) -> Restocked:
    """Add to the stock of an item, once per key. Raises ItemNotFound, IdempotencyKeyReused."""
    pool.ensure_commits()
    async with pool.connection() as conn, conn.transaction():
        before = await store.lock_item(conn, item_id)
        if before is None:
            raise ItemNotFound(f"There is no item {item_id!r}", item_id=item_id)
        after = await store.restock(conn, item_id, quantity, key)
        if after is None and await store.restock_by_key(conn, key) != (item_id, quantity):
            raise IdempotencyKeyReused("This key stands for another item or quantity; nothing was changed")
    if after is None:
        return Restocked(item_id, quantity, before, repeated=True)
    RESTOCKS.inc()
    return Restocked(item_id, quantity, after, repeated=False)


async def ledger(pool: Pool, order_id: UUID) -> Ledger:
    async with pool.connection() as conn:
        transactions = await store.transactions_of(conn, order_id)
        refusal = await store.refusal_of(conn, order_id)
    return Ledger(order_id, transactions, refusal)


async def stock_levels(pool: Pool) -> dict[str, int]:
    """Return what is in stock of each item of the catalogue."""
    async with pool.connection() as conn:
        return await store.stock_levels(conn)
