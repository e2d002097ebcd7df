"""The workload is a function of its seed."""

from collections import Counter
from itertools import islice

import pytest

from valerix_cli.clients.order_models import OrderRequest
from valerix_cli.load.workload import Mix, generate_orders

ITEMS = ["ps5", "xbox", "chair", "desk"]


def first(
    number: int, *, seed: int = 1, mix: Mix = "uniform", repeats: float = 0.0, prefix: str = "k-"
) -> list[OrderRequest]:
    return list(islice(generate_orders(seed, ITEMS, mix, quantity=2, repeats=repeats, prefix=prefix), number))


def test_a_seed_determines_the_orders() -> None:
    assert first(500, repeats=0.2) == first(500, repeats=0.2)
    assert first(500) != first(500, seed=2)
    assert {order.quantity for order in first(10)} == {2}


def test_each_key_occurs_once_without_repeats() -> None:
    assert [order.key for order in first(100)] == [f"k-{number}" for number in range(100)]


def test_a_repeat_has_the_key_and_the_body_of_an_earlier_order() -> None:
    orders = first(4000, repeats=0.25)
    bodies = {order.key: order for order in orders}
    assert all(bodies[order.key] == order for order in orders)
    assert (len(orders) - len(bodies)) / len(orders) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(
    ("mix", "shares"), [("hot", [1, 0, 0, 0]), ("uniform", [0.25] * 4), ("zipf", [0.48, 0.24, 0.16, 0.12])]
)
def test_items_are_drawn_with_the_shares_of_the_mix(mix: Mix, shares: list[float]) -> None:
    counts = Counter(order.item_id for order in first(20_000, mix=mix))
    assert [counts[item] / 20_000 for item in ITEMS] == pytest.approx(shares, abs=0.015)
