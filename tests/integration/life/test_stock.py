"""Nothing is sold that is not there."""

from collections import Counter

from tests.integration.life.shop import Shop, send_all


async def test_fifty_buyers_of_the_last_one_leave_one_confirmed_and_forty_nine_refused(big_shop: Shop) -> None:
    big_shop.stock("chair", 1)
    urls = [order.url for order in big_shop.orders]
    answers = await send_all(
        [(urls[n % 2], f"buyer-{n}", {"item_id": "chair", "quantity": 1}) for n in range(50)], concurrency=50
    )

    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {document["type"] for document in refused} == {"urn:valerix:problem:insufficient-stock"}
    assert {document["requested"] for document in refused} == {1}
    assert big_shop.quantity("chair") == 0
    assert Counter(big_shop.statuses().values()) == {"confirmed": 1, "failed": 49}
    big_shop.assert_exactly_one_effect()


async def test_orders_of_many_sizes_never_oversell(big_shop: Shop) -> None:
    urls = [order.url for order in big_shop.orders]
    answers = await send_all(
        [(urls[n % 2], f"size-{n}", {"item_id": "ps5", "quantity": 1 + n % 7}) for n in range(80)], concurrency=40
    )

    sold = sum(answer.json()["quantity"] for answer in answers if answer.status_code == 201)
    assert {answer.status_code for answer in answers} == {201, 409}
    assert sold + big_shop.quantity() == 100
    big_shop.assert_exactly_one_effect()
