"""Functions that mutants call from edited code."""

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime

import psycopg

from services.common.refusals import Refusal
from services.order import usecases
from services.order.domain import Claim, NewOrder, Order
from services.order.processing import Placement, Processing
from tests.faults.mutation import INVENTORY_DATABASE

WRITE_BEHIND = 0.3  # seconds between the acknowledgement and the commit of `acknowledge-before-commit`


_written_behind: set[str] = set()
_writing: set[asyncio.Task[None]] = set()


async def acknowledge_early(processing: Processing, new_order: NewOrder) -> Placement | None:
    """Report a new order as accepted, and store it later; None for a key that is stored or about to be."""
    if new_order.key in _written_behind or await usecases.find_by_key(processing._pool, new_order) is not None:  # noqa: SLF001 - a mutant changes internals
        return None
    _written_behind.add(new_order.key)
    task = asyncio.create_task(_write_behind(processing, new_order))
    _writing.add(task)
    task.add_done_callback(_writing.discard)
    return Placement(_unwritten(new_order), replayed=False)


async def give_back(claim: Claim) -> None:
    """Revert a deduction that may have happened, in inventory's database."""
    async with await psycopg.AsyncConnection.connect(os.environ[INVENTORY_DATABASE]) as conn:
        await conn.execute(
            """
            WITH released AS (
                INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
                VALUES (%s, %s, %s, 'release')
                ON CONFLICT DO NOTHING
                RETURNING item_id, quantity_change
            )
            UPDATE inventory SET quantity = inventory.quantity + released.quantity_change
            FROM released WHERE inventory.item_id = released.item_id
            """,
            [claim.item_id, claim.order_id, claim.quantity],
        )


async def _write_behind(processing: Processing, new_order: NewOrder) -> None:
    await asyncio.sleep(WRITE_BEHIND)
    try:
        with suppress(Refusal):
            await processing.place(new_order)
    finally:
        _written_behind.discard(new_order.key)


def _unwritten(new_order: NewOrder) -> Order:
    now = datetime.now(UTC)
    return Order(new_order.order_id, new_order.item_id, new_order.quantity, "pending", None, new_order.key, 1, now, now)
