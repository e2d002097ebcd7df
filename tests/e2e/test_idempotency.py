"""One key, one order, however many requests are sent and to whichever replica."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import redis

from tests.e2e.shop import Shop, send_all
from tests.processes import Processes, eventually
from valerix_cli.local.servers import ValkeyServer, running


async def test_two_hundred_racing_repeats_over_two_replicas_place_one_order(open_shop: Shop) -> None:
    item = open_shop.new_item()
    body = {"item_id": item, "quantity": 1}
    urls = [order.url for order in open_shop.orders]
    answers = await send_all([(urls[n % 2], "impatient", body) for n in range(200)], concurrency=200)

    assert set(Counter(answer.status_code for answer in answers)) <= {201, 409}
    assert all(answer.headers["Retry-After"] == "1" for answer in answers if answer.status_code == 409)
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert sum(answer.status_code == 201 and "Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert len(open_shop.statuses(item)) == 1
    assert list(open_shop.deductions(item).values()) == [1]
    assert open_shop.quantity(item) == 99

    repeat = open_shop.place(item, key="impatient", at=1)
    assert repeat.status_code == 201
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.json()["order_id"] == answers[0].json()["order_id"]


def test_a_key_with_another_body_is_refused_and_changes_nothing(open_shop: Shop) -> None:
    item, another = open_shop.new_item(), open_shop.new_item()
    first = open_shop.place(item, 2, key="cheater")
    before = open_shop.order_rows(b"SELECT * FROM orders"), open_shop.quantity(item)
    for item_id, quantity in ((item, 3), (another, 2)):
        other = open_shop.place(item_id, quantity, key="cheater")
        assert other.status_code == 422
        assert other.json()["type"] == "urn:valerix:problem:idempotency-key-reused"
        assert other.json()["order_id"] == first.json()["order_id"]
    assert (open_shop.order_rows(b"SELECT * FROM orders"), open_shop.quantity(item)) == before


def test_a_quoted_key_is_the_same_key(open_shop: Shop) -> None:
    assert open_shop.place(key='"quoted"').json()["order_id"] == open_shop.place(key="quoted").json()["order_id"]


def test_a_key_survives_the_flushing_of_redis(open_shop: Shop, redis_url: str) -> None:
    item = open_shop.new_item()
    first = open_shop.place(item, key="flushed")
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    again = open_shop.place(item, key="flushed")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json() == first.json()
    assert open_shop.quantity(item) == 99


def test_without_redis_the_service_answers_within_a_second_and_keeps_its_keys(
    tmp_path: Path, order_database: str, inventory_database: str, scratch: Path
) -> None:
    directory = scratch / "mortal-valkey"
    directory.mkdir()
    with running(ValkeyServer.at(directory, password="mortal")) as valkey:
        made = Processes(tmp_path, order_database, inventory_database, valkey.url())
        try:
            shop = Shop(made, order_database, inventory_database)
            shop.stock("ps5", 100)
            made.start(*shop.everyone)
            first = shop.place(key="before")
            with redis.Redis.from_url(valkey.url()) as client:
                pid = int(client.info("server")["process_id"])
            os.kill(pid, signal.SIGSTOP)  # its port still accepts connections, without responding
            _assert_quick_and_right(shop, first.json()["order_id"], "stalled")
            os.kill(pid, signal.SIGKILL)
            _assert_quick_and_right(shop, first.json()["order_id"], "gone")
            health = shop.client.get(f"{shop.order.url}/health")
            assert (health.status_code, health.json()["status"]) == (200, "degraded")
        finally:
            made.end()


def test_every_repeat_of_a_refused_order_returns_the_stored_refusal(open_shop: Shop) -> None:
    item = open_shop.new_item()
    for replayed in (None, "true", "true"):
        answer = open_shop.place(item, 101, key="too-many")
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:valerix:problem:insufficient-stock"
        assert answer.headers.get("Idempotent-Replayed") == replayed
    assert open_shop.quantity(item) == 100


def test_a_repeat_of_an_unfinished_order_returns_its_current_state(
    services: Processes, order_database: str, inventory_database: str
) -> None:
    shop = Shop(services, order_database, inventory_database)
    services.start(shop.order)  # without inventory and worker it stays queued
    first = shop.place(key="waiting")
    again = shop.place(key="waiting")
    assert [first.status_code, again.status_code] == [202, 202]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["status"] == "queued"
    assert first.headers["Location"] == f"/api/orders/{first.json()['order_id']}"


def test_a_full_queue_refuses_new_keys_and_answers_known_ones(
    services: Processes, order_database: str, inventory_database: str
) -> None:
    shop = Shop(services, order_database, inventory_database, BACKLOG_CAP="3")
    services.start(shop.order)
    for n in range(3):
        assert shop.place(key=f"early-{n}").status_code == 202
    late = shop.place(key="late")
    assert late.status_code == 503
    assert late.json()["type"] == "urn:valerix:problem:queue-full"
    assert int(late.headers["Retry-After"]) > 0
    assert shop.place(key="early-1").status_code == 202
    assert shop.place(quantity=7, key="early-1").status_code == 422
    assert len(shop.statuses()) == 3
    shop.stock("ps5", 100)
    services.start(shop.inventory, shop.worker)
    shop.wait_settled()
    eventually(lambda: shop.place(key="late").status_code == 201, what="room again")


def _assert_quick_and_right(shop: Shop, first_order: str, how: str) -> None:
    for n in range(5):
        began = time.monotonic()
        known, new = shop.place(key="before"), shop.place(key=f"{how}-{n}")
        assert time.monotonic() - began < 2.0, f"two requests while Redis is {how}"
        assert (known.status_code, known.json()["order_id"]) == (201, first_order)
        assert new.status_code == 201


def test_an_order_is_found_by_its_key(open_shop: Shop) -> None:
    item = open_shop.new_item()
    placed = open_shop.place(item, key="find:me").json()
    open_shop.place(item, key="another")
    listing = f"{open_shop.order.url}/api/orders"

    def orders(**parameters: str) -> list[str]:
        page = open_shop.client.get(listing, params=parameters).json()
        assert page["next_cursor"] is None
        return [order["order_id"] for order in page["orders"]]

    assert orders(idempotency_key="find:me") == [placed["order_id"]]
    assert orders(idempotency_key="find:me", status="confirmed", item_id=item) == [placed["order_id"]]
    assert orders(idempotency_key="find:me", status="failed") == []
    assert orders(idempotency_key="nobody") == []
    assert open_shop.client.get(listing, params={"idempotency_key": "a b"}).status_code == 400
