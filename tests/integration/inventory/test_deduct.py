"""Deductions on a real database: exact, once per order, and conserved at every moment."""

import asyncio
import itertools
import uuid
from random import Random

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.postgres import Pool
from services.inventory import store, usecases
from services.inventory.domain import Changes, Conflict, Deducted, Line, Outcome, Refused
from tests.integration.inventory.service import add_item, balances, until_somebody_waits_for_a_lock
from tests.unit.inventory.test_decide import Naive


def line(item_id: str, quantity: int = 1, order_id: uuid.UUID | None = None) -> Line:
    return Line(order_id or uuid.uuid4(), item_id, quantity)


async def deductions(pool: Pool, order_id: uuid.UUID) -> list[int]:
    ledger = await usecases.ledger(pool, order_id)
    return [entry.quantity_change for entry in ledger.transactions]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    stock=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(1, 4)), min_size=1, max_size=12),
        max_size=4,
    ),
)
async def test_batches_have_the_results_of_one_by_one_processing(
    pool: Pool, shared_database: str, stock: tuple[int, int], batches: list[list[tuple[int, int, int]]]
) -> None:
    items = [*(add_item(shared_database, quantity) for quantity in stock), "unknown"]
    orders = [uuid.uuid4() for _ in range(10)]
    naive = Naive(dict(zip(items, stock, strict=False)))
    for batch in batches:
        lines = [line(items[item], quantity, orders[order]) for order, item, quantity in batch]
        assert await usecases.deduct_batch(pool, lines) == [naive.serve(each) for each in lines]
    left = await balances(pool)
    assert {item: left[item] for item in items[:2]} == naive.stock


async def test_racing_batches_never_oversell_and_the_ledger_always_balances(pool: Pool, shared_database: str) -> None:
    items = [add_item(shared_database, quantity) for quantity in (40, 60, 80)]
    random = Random(5)  # noqa: S311 - the same orders in every run
    orders = [line(random.choice(items), random.randint(1, 5)) for _ in range(150)]
    batches = [random.choices(orders, k=12) for _ in range(60)]
    looks = 0

    async def watch() -> None:
        nonlocal looks
        while True:
            await balances(pool)
            looks += 1

    watcher = asyncio.create_task(watch())
    turn = asyncio.Semaphore(6)

    async def serve(batch: list[Line]) -> list[tuple[Line, Outcome]]:
        async with turn:
            return list(zip(batch, await usecases.deduct_batch(pool, batch), strict=True))

    served = list(itertools.chain.from_iterable(await asyncio.gather(*map(serve, batches))))
    watcher.cancel()
    await asyncio.wait([watcher])
    assert watcher.cancelled(), watcher.exception()
    assert looks > 10

    given_to = {each.order_id: each for each, outcome in served if isinstance(outcome, Deducted)}
    refused = {each.order_id for each, outcome in served if isinstance(outcome, Refused)}
    assert not refused & set(given_to), "an order was both served and refused"
    assert sum(outcome == Deducted(outcome.remaining) for _, outcome in served if isinstance(outcome, Deducted)) == len(
        given_to
    ), "each order is served for the first time once"
    left = await balances(pool)
    for item, stocked in zip(items, (40, 60, 80), strict=True):
        assert left[item] == stocked - sum(each.quantity for each in given_to.values() if each.item_id == item)


async def test_twenty_racing_attempts_of_one_order_deduct_once(pool: Pool, shared_database: str) -> None:
    item = add_item(shared_database, 100)
    wanted = line(item, 3)
    outcomes = await asyncio.gather(*(usecases.deduct_batch(pool, [line(item), wanted, wanted]) for _ in range(20)))
    results = [outcome for _, first, second in outcomes for outcome in (first, second)]
    assert sum(outcome == Deducted(outcome.remaining) for outcome in results if isinstance(outcome, Deducted)) == 1
    assert all(isinstance(outcome, Deducted) for outcome in results)
    assert await deductions(pool, wanted.order_id) == [-3]
    assert (await balances(pool))[item] == 100 - 3 - 20


async def test_one_of_fifty_buyers_of_the_last_unit_is_served_and_the_others_are_refused(
    pool: Pool, shared_database: str
) -> None:
    item = add_item(shared_database, 1)
    outcomes = await asyncio.gather(*(usecases.deduct_batch(pool, [line(item)]) for _ in range(50)))
    assert sorted(map(repr, itertools.chain.from_iterable(outcomes))) == sorted(
        map(repr, [Deducted(0), *[Refused("insufficient-stock", 0)] * 49])
    )
    assert (await balances(pool))[item] == 0


async def test_a_refused_order_stays_refused_after_a_restock(pool: Pool, shared_database: str) -> None:
    item = add_item(shared_database, 1)
    wanted = line(item, 2)
    assert await usecases.deduct_batch(pool, [wanted]) == [Refused("insufficient-stock", 1)]
    await usecases.restock(pool, item, 10, "more")
    assert await usecases.deduct_batch(pool, [wanted]) == [Refused("insufficient-stock", 1, repeated=True)]
    assert (await balances(pool))[item] == 11
    refusal = (await usecases.ledger(pool, wanted.order_id)).refusal
    assert refusal is not None
    assert refusal.reason == "insufficient-stock"


async def test_an_attempt_that_waited_for_the_refusal_of_its_order_is_refused_despite_new_stock(
    pool: Pool, shared_database: str
) -> None:
    item = add_item(shared_database, 1)
    wanted = line(item, 2)
    async with pool.connection() as conn, conn.transaction():
        await store.lock_items_and_load_outcomes(conn, [wanted])
        late = asyncio.create_task(usecases.deduct_batch(pool, [wanted]))
        await until_somebody_waits_for_a_lock(pool)
        await store.write_outcomes(conn, Changes([], [(wanted, Refused("insufficient-stock", 1))]))
        await store.restock(conn, item, 10, f"more of {item}")
    assert await late == [Refused("insufficient-stock", 1, repeated=True)]
    assert (await balances(pool))[item] == 11


async def test_new_orders_that_can_all_be_served_take_one_round_trip(pool: Pool, shared_database: str) -> None:
    item, other = (add_item(shared_database, 10) for _ in range(2))
    async with pool.connection() as conn:
        assert await store.deduct_all(conn, [line(item, 4), line(other, 1), line(item, 5)]) == {item: 1, other: 9}


@pytest.mark.parametrize("odd", ["too many", "unknown", "refused", "deducted"])
async def test_deduct_all_deducts_nothing_unless_every_line_is_new_known_and_covered(
    pool: Pool, shared_database: str, odd: str
) -> None:
    item = add_item(shared_database, 10)
    before = {"refused": line(item, 11), "deducted": line(item, 1)}
    await usecases.deduct_batch(pool, list(before.values()))
    lines = before | {"too many": line(item, 9), "unknown": line("unknown")}
    async with pool.connection() as conn:
        assert await store.deduct_all(conn, [line(item), lines[odd]]) is None
    assert (await balances(pool))[item] == 9


async def test_an_order_id_racing_for_two_items_deducts_one_of_them(pool: Pool, shared_database: str) -> None:
    first, second = (add_item(shared_database, 100) for _ in range(2))
    for _ in range(10):
        order_id = uuid.uuid4()
        others = [line(first), line(second)]
        served = await asyncio.gather(
            usecases.deduct_batch(pool, [others[0], line(first, 1, order_id)]),
            usecases.deduct_batch(pool, [line(second, 2, order_id), others[1]]),
        )
        results = [served[0][1], served[1][0]]
        assert sorted(type(outcome).__name__ for outcome in results) == ["Conflict", "Deducted"], results
        assert len(await deductions(pool, order_id)) == 1
    await balances(pool)


async def test_two_batches_with_each_others_order_ids_do_not_deadlock(pool: Pool, shared_database: str) -> None:
    first, second = (add_item(shared_database, 1000) for _ in range(2))
    for _ in range(5):
        orders = [uuid.uuid4() for _ in range(20)]
        here = [line(first, 1, order) for order in orders]
        there = [line(second, 1, order) for order in reversed(orders)]
        results = await asyncio.gather(usecases.deduct_batch(pool, here), usecases.deduct_batch(pool, there))
        for one, other in zip(results[0], reversed(results[1]), strict=True):
            assert {type(one), type(other)} == {Deducted, Conflict}
    left = await balances(pool)
    assert left[first] + left[second] == 2000 - 100


async def test_the_database_refuses_a_second_deduction(pool: Pool, shared_database: str) -> None:
    wanted = line(add_item(shared_database, 5))
    await usecases.deduct_batch(pool, [wanted])
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with pool.connection() as conn:
            await conn.execute(
                """
                INSERT INTO inventory_transactions (item_id, order_id, quantity_change, transaction_type)
                VALUES (%s, %s, -1, 'deduct')
                """,
                [wanted.item_id, wanted.order_id],
            )


async def test_racing_restocks_with_one_key_add_once(pool: Pool, shared_database: str) -> None:
    item = add_item(shared_database, 5)
    restocks = await asyncio.gather(*(usecases.restock(pool, item, 7, "key") for _ in range(10)))
    assert sorted(restocked.repeated for restocked in restocks) == [False, *[True] * 9]
    assert {restocked.quantity for restocked in restocks} == {12}
    assert (await balances(pool))[item] == 12
