"""New items: earlier refusals remain, and existing items stay unchanged."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from services.common.postgres import Pool, open_pool
from services.inventory import migrate, store, usecases
from services.inventory.domain import Changes, Line, Refused
from services.inventory.seed_data import SEED_ITEMS
from tests.integration.inventory.service import balances, until_somebody_waits_for_a_lock


@pytest.fixture
async def empty(inventory_database: str) -> AsyncIterator[Pool]:
    """A pool on an inventory_db without items."""
    async with open_pool(inventory_database, name="test", size=6) as pool:
        yield pool


async def test_an_order_refused_for_an_unknown_item_stays_refused_once_the_item_exists(
    empty: Pool, inventory_database: str
) -> None:
    wanted = Line(uuid.uuid4(), "ps5", 1)
    assert await usecases.deduct_batch(empty, [wanted]) == [Refused("unknown-item")]
    migrate.seed(inventory_database)
    assert await usecases.deduct_batch(empty, [wanted]) == [Refused("unknown-item", repeated=True)]
    assert (await balances(empty))["ps5"] == 100


async def test_an_item_appears_only_after_transactions_that_found_it_unknown(
    empty: Pool, inventory_database: str
) -> None:
    wanted = Line(uuid.uuid4(), "ps5", 1)
    async with empty.connection() as early, early.transaction():
        assert (await store.lock_items_and_load_outcomes(early, [wanted]))[0] == {}
        seeding = asyncio.create_task(asyncio.to_thread(migrate.seed, inventory_database))
        await until_somebody_waits_for_a_lock(empty)
        await store.write_outcomes(early, Changes([], [(wanted, Refused("unknown-item"))]))
        assert not seeding.done()
    await seeding
    assert await usecases.deduct_batch(empty, [wanted]) == [Refused("unknown-item", repeated=True)]


async def test_seeding_during_orders_leaves_no_order_both_refused_and_served(
    empty: Pool, inventory_database: str
) -> None:
    orders = [Line(uuid.uuid4(), item_id, 1) for item_id, _, _ in SEED_ITEMS for _ in range(3)]
    seeding = asyncio.create_task(asyncio.to_thread(migrate.seed, inventory_database))
    rounds = [asyncio.gather(*(usecases.deduct_batch(empty, [each]) for each in orders)) for _ in range(4)]
    answers = await asyncio.gather(*rounds)
    await seeding
    for each, *outcomes in zip(orders, *answers, strict=True):
        kinds = {type(outcome) for (outcome,) in outcomes}
        assert len(kinds) == 1, (each, outcomes)
        ledger = await usecases.ledger(empty, each.order_id)
        assert (ledger.refusal is None) == bool(ledger.transactions)
    await balances(empty)


async def test_seeding_adds_missing_items_and_changes_no_others(empty: Pool, inventory_database: str) -> None:
    with psycopg.connect(inventory_database) as conn:
        conn.execute("INSERT INTO inventory (item_id, item_name, quantity) VALUES ('ps5', 'ours', 0)")
    assert len(migrate.seed(inventory_database)) == 11
    assert migrate.seed(inventory_database) == []
    assert await balances(empty) == {"ps5": 0} | {item: count for item, _, count in SEED_ITEMS if item != "ps5"}
