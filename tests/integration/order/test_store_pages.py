"""Paging through orders, newest first."""

from collections.abc import Awaitable, Callable

import pytest

from services.common.postgres import Pool
from services.order import store, usecases
from services.order.domain import Order
from tests.integration.order.rows import LEASE, REPLICA, accepted, keys, settlement, wanted

Page = list[tuple[int, Order]]


@pytest.fixture
async def shelf(pool: Pool) -> Pool:
    """30 orders, every fifth of them for an xbox."""
    for number, name in enumerate(keys(30)):
        await usecases.accept(pool, LEASE, REPLICA, [wanted(name, "xbox" if number % 5 == 0 else "ps5")])
    return pool


async def all_pages(fetch: Callable[[int | None], Awaitable[Page]], size: int) -> list[str]:
    """Return the keys of all pages, one after the other."""
    found: list[str] = []
    before: int | None = None
    while page := await fetch(before):
        assert len(page) <= size
        found += [order.idempotency_key for _, order in page]
        before = page[-1][0]
    return found


@pytest.mark.parametrize("size", [1, 7, 10, 30, 500])
async def test_the_pages_together_list_all_orders_newest_first(shelf: Pool, size: int) -> None:
    async def fetch(before: int | None) -> Page:
        async with shelf.connection() as conn:
            return await store.page(conn, None, before, size)

    assert await all_pages(fetch, size) == list(reversed(keys(30)))


async def test_new_orders_shift_no_page(shelf: Pool) -> None:
    async def fetch(before: int | None) -> Page:
        await accepted(shelf, f"late-{before}")
        async with shelf.connection() as conn:
            return await store.page(conn, None, before, 7)

    assert await all_pages(fetch, 7) == ["late-None", *reversed(keys(30))]


async def test_pages_of_one_item_hold_only_that_item(shelf: Pool) -> None:
    async def fetch(before: int | None) -> Page:
        async with shelf.connection() as conn:
            return await store.page(conn, "xbox", before, 4)

    assert await all_pages(fetch, 4) == [f"key-{number}" for number in (25, 20, 15, 10, 5, 0)]


async def test_pages_of_one_status_hold_only_that_status(pool: Pool) -> None:
    claims = await accepted(pool, *keys(30))
    await usecases.settle(pool, REPLICA, [settlement(claim, "confirmed") for claim in claims[::3]])

    async def fetch(before: int | None) -> Page:
        async with pool.connection() as conn:
            return await store.page_with_status(conn, "confirmed", None, before, 4)

    confirmed = {wanted(key).order_id for key in await all_pages(fetch, 4)}
    assert confirmed == {claim.order_id for claim in claims[::3]}


async def test_both_filters_apply_together(shelf: Pool) -> None:
    async with shelf.connection() as conn:
        assert len(await store.page_with_status(conn, "pending", "xbox", None, 50)) == 6
        assert await store.page_with_status(conn, "confirmed", "xbox", None, 50) == []
        assert await store.page(conn, "nothing", None, 50) == []
