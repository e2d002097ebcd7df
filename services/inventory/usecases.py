"""Use cases of the inventory service. One with several statements is one transaction."""

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
from services.inventory.chaos_leases import Lease, LeaseFollower
from services.inventory.domain import ItemNotFound, Line, Outcome
from services.inventory.gremlins import Fault
from services.inventory.metrics import DEDUCTIONS, RESTOCKS
from services.inventory.store import Item, StoredRefusal, Transaction

Deductions: TypeAlias = GroupCommit[Line, Outcome]

MAX_ATTEMPTS = 5
COMMIT_TIMEOUT = 2.5  # seconds that a caller waits for the outcome of its order


class RestockResult(msgspec.Struct, frozen=True):
    """`quantity` is the item's stock now."""

    item_id: str
    added: int
    quantity: int
    repeated: bool


class Ledger(msgspec.Struct, frozen=True):
    """The ledger lines and the refusal of one order; both empty if the order is unknown."""

    order_id: UUID
    transactions: list[Transaction]
    refusal: StoredRefusal | None


def deduct(
    deductions: Deductions, leases: LeaseFollower, line: Line, attempt: int
) -> "asyncio.Future[Outcome | Fault]":
    """Deduct one line with the next group commit, or inject a fault. All endpoints call this.

    The future raises TimeoutError if the commit takes longer than COMMIT_TIMEOUT.
    """
    lease = leases.live()
    if lease is None:
        return deductions.submit(line)  # type: ignore[return-value]  # a future of either type is accepted
    return spawn(_deduct_with_faults(deductions, lease, line, attempt), awaited=True)


async def _deduct_with_faults(deductions: Deductions, lease: Lease, line: Line, attempt: int) -> Outcome | Fault:
    if lease.should_inject("crash", line.order_id, attempt):
        return gremlins.crash(lease.activation, line.order_id, attempt)
    outcome = await deductions.submit(line)
    is_delayed = lease.should_inject("latency", line.order_id, attempt)
    is_lost = lease.should_inject(
        "partial_failure", line.order_id, attempt
    )  # before the delay, during which the caller may hang up
    if is_delayed:
        await lease.delay()
    return gremlins.partial_failure(lease.activation, line.order_id, attempt) if is_lost else outcome


async def deduct_batch(pool: Pool, lines: list[Line]) -> list[Outcome]:
    """Deduct each line once per order id, or refuse it permanently. Returns one outcome per line, in order."""
    pool.ensure_commits()
    if (outcomes := await _deduct_in_one_statement(pool, lines)) is not None:
        return outcomes
    for _ in range(MAX_ATTEMPTS - 1):
        with contextlib.suppress(psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected):
            return await _deduct_in_steps(pool, lines)
    return await _deduct_in_steps(pool, lines)


async def _deduct_in_one_statement(pool: Pool, lines: list[Line]) -> list[Outcome] | None:
    """Deduct new orders that all have enough stock, in one round trip; None if the batch has any other case.

    Not used while a crash point is armed, since those lie between the steps of a deduction.
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


async def _deduct_in_steps(pool: Pool, lines: list[Line]) -> list[Outcome]:
    """Lock the items, load stored outcomes, decide each line, and store new outcomes."""
    async with pool.connection() as conn, conn.transaction():
        stock, stored = await store.lock_items_and_load_outcomes(conn, lines)
        outcomes = domain.decide(stock, stored, lines)
        changes = domain.changes(lines, outcomes)
        if changes.deductions or changes.refusals:
            await store.write_outcomes(conn, changes)
            crash_point("after-insert")
        crash_point("before-commit")
    crash_point("after-commit")
    DEDUCTIONS.inc(len(changes.deductions))
    return outcomes


async def restock(pool: Pool, item_id: str, quantity: int, key: str) -> RestockResult:
    """Add to the stock of an item, once per idempotency key. Raises ItemNotFound, IdempotencyKeyReused."""
    pool.ensure_commits()
    async with pool.connection() as conn, conn.transaction():
        before = await store.lock_item(conn, item_id)
        if before is None:
            raise ItemNotFound(f"No item {item_id!r}", item_id=item_id)
        after = await store.restock(conn, item_id, quantity, key)
        if after is None and await store.restock_by_key(conn, key) != (item_id, quantity):
            raise IdempotencyKeyReused("The key was used for another item or quantity; nothing was changed")
    if after is None:
        return RestockResult(item_id, quantity, before, repeated=True)
    RESTOCKS.inc()
    return RestockResult(item_id, quantity, after, repeated=False)


async def ledger(pool: Pool, order_id: UUID) -> Ledger:
    """Return the ledger lines and the refusal of one order."""
    async with pool.connection() as conn:
        transactions = await store.transactions_of(conn, order_id)
        refusal = await store.refusal_of(conn, order_id)
    return Ledger(order_id, transactions, refusal)


async def items(pool: Pool) -> list[Item]:
    """Return all items with their stock."""
    async with pool.connection() as conn:
        return await store.items(conn)


async def get_item(pool: Pool, item_id: str) -> Item:
    """Return one item with its stock. Raises ItemNotFound."""
    async with pool.connection() as conn:
        found = None if "\0" in item_id else await store.item(conn, item_id)
    if found is None:
        raise ItemNotFound(f"No item {item_id!r}", item_id=item_id)
    return found


async def stock_levels(pool: Pool) -> dict[str, int]:
    """Return the stock of each item."""
    async with pool.connection() as conn:
        return await store.stock_levels(conn)
