"""Stock is never oversold."""

from collections import Counter

from tests.e2e.shop import Shop, send_all


async def test_fifty_buyers_of_the_last_one_leave_one_confirmed_and_forty_nine_refused(open_shop: Shop) -> None:
    item = open_shop.new_item(1)
    urls = [order.url for order in open_shop.orders]
    answers = await send_all(
        [(urls[n % 2], f"buyer-{n}", {"item_id": item, "quantity": 1}) for n in range(50)], concurrency=50
    )

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {document["type"] for document in refused} == {"urn:valerix:problem:insufficient-stock"}
    assert {document["requested"] for document in refused} == {1}
    assert open_shop.quantity(item) == 0
    assert Counter(open_shop.statuses(item).values()) == {"confirmed": 1, "failed": 49}
    open_shop.assert_exactly_one_effect(item)


async def test_orders_of_many_sizes_never_oversell(open_shop: Shop) -> None:
    item = open_shop.new_item(100)
    urls = [order.url for order in open_shop.orders]
    answers = await send_all(
        [(urls[n % 2], f"size-{n}", {"item_id": item, "quantity": 1 + n % 7}) for n in range(80)], concurrency=40
    )

    sold = sum(answer.json()["quantity"] for answer in answers if answer.status_code == 201)
    assert {answer.status_code for answer in answers} == {201, 409}
    assert sold + open_shop.quantity(item) == 100
    open_shop.assert_exactly_one_effect(item)
