"""The inventory over HTTP: authorization and responses."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.inventory.service import NDJSON, Inventory, line, ndjson
from tests.processes import OPERATOR, SERVICE

ANY = str(uuid.UUID(int=1))
WRONG = {"Authorization": "Bearer not-a-token-of-ours"}


def slug(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return str(response.json()["type"]).removeprefix("urn:valerix:problem:")


async def test_an_order_sent_to_both_endpoints_of_both_replicas_is_deducted_once(
    warehouse: Inventory,
) -> None:
    item = warehouse.add_item()
    wanted = line(item, 2)
    async with httpx.AsyncClient(timeout=10) as client:

        async def single(url: str) -> list[dict[str, Any]]:
            response = await client.post(f"{url}/api/inventory/deduct", json=wanted, headers=SERVICE)
            return [response.json() | {"status": response.status_code}]

        async def bulk(url: str) -> list[dict[str, Any]]:
            body = ndjson([wanted, line(item), wanted])
            response = await client.post(f"{url}/api/inventory/deductions", content=body, headers=NDJSON)
            answers = [json.loads(text) for text in response.text.splitlines()]
            return [answer for answer in answers if answer["order_id"] == wanted["order_id"]]

        urls = [replica.url for replica in warehouse.replicas] * 5
        rounds = await asyncio.gather(*map(single, urls), *map(bulk, urls))
    answers = [answer for answered in rounds for answer in answered]
    assert len(answers) == 30
    assert {answer["status"] for answer in answers} == {200}
    assert [answer["repeated"] for answer in answers].count(False) == 1
    assert [entry["quantity_change"] for entry in warehouse.ledger(wanted["order_id"])["transactions"]] == [-2]
    assert warehouse.quantity(item) == 100 - 2 - 10


def test_a_deduction_returns_the_remaining_stock_and_a_repeat_is_marked(warehouse: Inventory) -> None:
    wanted = line(warehouse.add_item(10), 4)
    first, second = warehouse.deduct(wanted), warehouse.deduct(wanted | {"attempt": 2})
    expected = {"order_id": wanted["order_id"], "item_id": wanted["item_id"], "quantity": 4, "remaining": 6}
    assert (first.status_code, first.json()) == (200, expected | {"repeated": False})
    assert (second.status_code, second.json()) == (200, expected | {"repeated": True})


def test_a_deduction_beyond_the_stock_is_refused_with_both_quantities(warehouse: Inventory) -> None:
    wanted = line(warehouse.add_item(3), 4)
    response = warehouse.deduct(wanted)
    assert (response.status_code, slug(response)) == (409, "insufficient-stock")
    assert response.json().items() >= {"requested": 4, "available": 3, "order_id": wanted["order_id"]}.items()
    ledger = warehouse.ledger(wanted["order_id"])
    assert ledger["transactions"] == []
    assert ledger["refusal"]["reason"] == "insufficient-stock"


def test_a_refused_order_stays_refused_after_a_restock_on_either_endpoint(warehouse: Inventory) -> None:
    item = warehouse.add_item(0)
    wanted = line(item)
    assert warehouse.deduct(wanted).status_code == 409
    assert warehouse.restock(item, 10, f"restock-{item}").json()["quantity"] == 10
    assert warehouse.deduct(wanted | {"attempt": 2}).status_code == 409
    answer = warehouse.deduct_many([wanted | {"attempt": 3}])[wanted["order_id"]]
    assert (answer["status"], answer["reason"], answer["available"]) == (409, "insufficient-stock", 0)
    assert warehouse.quantity(item) == 10


def test_an_unknown_item_is_422_on_either_endpoint(warehouse: Inventory) -> None:
    first, second = line("nobody-sells-this"), line("nobody-sells-this")
    response = warehouse.deduct(first)
    assert (response.status_code, slug(response)) == (422, "unknown-item")
    assert warehouse.deduct_many([second])[second["order_id"]] == {
        "order_id": second["order_id"],
        "status": 422,
        "reason": "unknown-item",
    }


def test_an_order_id_reused_for_another_line_is_refused_and_changes_nothing(warehouse: Inventory) -> None:
    item, other = warehouse.add_item(), warehouse.add_item()
    wanted = line(item, 2)
    warehouse.deduct(wanted)
    for change in ({"quantity": 3}, {"item_id": other}):
        response = warehouse.deduct(wanted | change)
        assert (response.status_code, slug(response)) == (422, "order-id-reused")
        answer = warehouse.deduct_many([wanted | change])[wanted["order_id"]]
        assert (answer["status"], answer["reason"]) == (422, "order-id-reused")
    assert (warehouse.quantity(item), warehouse.quantity(other)) == (98, 100)


def test_a_bulk_request_returns_a_status_per_line(warehouse: Inventory) -> None:
    item = warehouse.add_item(5)
    lines = [line(item, 4), line(item, 3), line(item, 1), line("nobody-sells-this")]
    answers = warehouse.deduct_many(lines)
    assert [answers[each["order_id"]]["status"] for each in lines] == [200, 409, 200, 422]
    assert warehouse.quantity(item) == 0


def test_one_malformed_line_refuses_the_request_before_any_work(warehouse: Inventory) -> None:
    item = warehouse.add_item()
    good = line(item)
    for bad in (b'{"order_id"', json.dumps(line(item, 0)).encode(), b"[]", b'"x"'):
        response = warehouse.http.post(
            f"{warehouse.url}/api/inventory/deductions", content=ndjson([good]) + b"\n" + bad, headers=NDJSON
        )
        assert (response.status_code, slug(response)) == (422, "invalid-body")
    assert warehouse.ledger(good["order_id"])["transactions"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        *(
            json.dumps(line("ps5") | {"order_id": ANY} | change).encode()
            for change in (
                {"quantity": 0},
                {"quantity": -1},
                {"quantity": 1.5},
                {"quantity": "1"},
                {"quantity": True},
                {"quantity": 10**30},
                {"quantity": float("nan")},
                {"quantity": float("inf")},
                {"attempt": 0},
                {"attempt": None},
                {"order_id": "1"},
                {"item_id": ""},
                {"item_id": "a\0b"},
                {"surprise": 1},
            )
        ),
        b'{"order_id":"%s","item_id":"\\ud800","quantity":1,"attempt":1}' % ANY.encode(),
        b'{"order_id":"%s","item_id":"ps5","quantity":1e309,"attempt":1}' % ANY.encode(),
        b'{"order_id":"%s","item_id":"ps5","quantity":1}' % ANY.encode(),
        b'{"order_id":"%s","item_id":"\xff","quantity":1,"attempt":1}' % ANY.encode(),
    ],
)
def test_a_bad_body_is_422_and_nothing_is_stored(warehouse: Inventory, body: bytes) -> None:
    headers = SERVICE | {"Content-Type": "application/json"}
    response = warehouse.http.post(f"{warehouse.url}/api/inventory/deduct", content=body, headers=headers)
    assert (response.status_code, slug(response)) == (422, "invalid-body")
    assert warehouse.ledger(ANY) == {"order_id": ANY, "transactions": [], "refusal": None}


@pytest.mark.parametrize(
    ("path", "token", "right", "limit"),
    [
        ("/api/inventory/deduct", SERVICE, "application/json", 65_536),
        ("/api/inventory/deductions", SERVICE, "application/x-ndjson", 65_536),
        ("/api/inventory/ps5/restock", OPERATOR | {"Idempotency-Key": "large"}, "application/json", 65_536),
        ("/api/admin/chaos/halt", OPERATOR, "application/json", 65_536),
        ("/api/admin/chaos", OPERATOR, "application/json", 1_048_576),
    ],
)
def test_too_large_bodies_and_other_media_types_are_refused(
    warehouse: Inventory, path: str, token: dict[str, str], right: str, limit: int
) -> None:
    def post(content: bytes | Iterator[bytes], media_type: str) -> tuple[int, str]:
        headers = token | {"Content-Type": media_type}
        response = warehouse.http.post(warehouse.url + path, content=content, headers=headers)
        return response.status_code, slug(response)

    assert post(b" " * limit, right) == (422, "invalid-body")
    assert post(b" " * (limit + 1), right) == (413, "body-too-large")
    assert post(iter([b" " * limit, b" "]), right) == (413, "body-too-large")  # without a Content-Length
    assert post(b"{}", "text/plain") == (415, "unsupported-media-type")


def test_a_large_body_is_read_only_for_an_operator(warehouse: Inventory) -> None:
    large = b" " * 1_048_577
    for token, refusal in (({}, (401, "unauthorized")), (SERVICE, (403, "forbidden"))):
        headers = token | {"Content-Type": "application/json"}
        response = warehouse.http.post(f"{warehouse.url}/api/admin/chaos", content=large, headers=headers)
        assert (response.status_code, slug(response)) == refusal


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/inventory/deduct", [SERVICE]),
        ("POST", "/api/inventory/deductions", [SERVICE]),
        ("GET", f"/api/inventory/transactions/{ANY}", [SERVICE, OPERATOR]),
        ("POST", "/api/inventory/ps5/restock", [OPERATOR]),
        ("GET", "/api/admin/chaos", [OPERATOR]),
        ("GET", f"/api/admin/chaos/{ANY}/hits", [OPERATOR]),
        ("POST", "/api/admin/chaos", [OPERATOR]),
        ("DELETE", "/api/admin/chaos", [OPERATOR]),
        ("POST", "/api/admin/chaos/halt", [OPERATOR]),
    ],
)
def test_every_protected_endpoint_requires_its_level(
    warehouse: Inventory, method: str, path: str, allowed: list[dict[str, str]]
) -> None:
    def ask(headers: dict[str, str]) -> httpx.Response:
        return warehouse.http.request(method, warehouse.url + path, headers=headers)

    for headers in ({}, WRONG, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}):
        refused = ask(headers)
        assert (refused.status_code, slug(refused)) == (401, "unauthorized")
        assert refused.headers["www-authenticate"].startswith("Bearer")
    for headers in (SERVICE, OPERATOR):
        answered = ask(headers)
        assert (answered.status_code in {401, 403}) == (headers not in allowed), answered.text


def test_stock_is_public_and_a_wrong_token_is_refused(warehouse: Inventory) -> None:
    item = warehouse.add_item(5)
    listed = warehouse.http.get(f"{warehouse.url}/api/inventory").json()["items"]
    shown = warehouse.http.get(f"{warehouse.url}/api/inventory/{item}").json()
    assert shown in listed
    assert set(shown) == {"item_id", "item_name", "quantity", "reserved_quantity", "created_at", "updated_at"}
    assert warehouse.http.get(f"{warehouse.url}/api/inventory", headers=WRONG).status_code == 401


@pytest.mark.parametrize("item_id", ["nobody-sells-this", "%00", "a%00b", "%ff", "%F0%9F%8E%AE", "..%2f", "a" * 5000])
def test_an_unknown_item_is_404(warehouse: Inventory, item_id: str) -> None:
    response = warehouse.http.get(f"{warehouse.url}/api/inventory/{item_id}")
    assert response.status_code == 404, response.text
    assert slug(response) in {"item-not-found", "not-found"}


def test_a_restock_adds_once_per_key(warehouse: Inventory) -> None:
    item, other = warehouse.add_item(5), warehouse.add_item(5)
    first, second = (warehouse.restock(item, 7, f"key-{item}") for _ in range(2))
    assert first.json() == {"item_id": item, "added": 7, "quantity": 12, "repeated": False}
    assert second.json() == first.json() | {"repeated": True}
    for reused in (warehouse.restock(item, 8, f"key-{item}"), warehouse.restock(other, 7, f"key-{item}")):
        assert (reused.status_code, slug(reused)) == (422, "idempotency-key-reused")
    assert (warehouse.quantity(item), warehouse.quantity(other)) == (12, 5)


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 1.5, "1", True, None])
def test_a_restock_requires_a_valid_quantity(warehouse: Inventory, quantity: object) -> None:
    response = warehouse.http.post(
        f"{warehouse.url}/api/inventory/ps5/restock",
        json={"quantity": quantity},
        headers=OPERATOR | {"Idempotency-Key": "sensible"},
    )
    assert (response.status_code, slug(response)) == (422, "invalid-body")


def test_a_restock_requires_one_key_and_an_existing_item(warehouse: Inventory) -> None:
    url = f"{warehouse.url}/api/inventory/ps5/restock"
    missing = warehouse.http.post(url, json={"quantity": 1}, headers=OPERATOR)
    assert (missing.status_code, slug(missing)) == (400, "idempotency-key-missing")
    twice = [*OPERATOR.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    assert slug(warehouse.http.post(url, json={"quantity": 1}, headers=twice)) == "idempotency-key-invalid"
    assert slug(warehouse.restock("nobody-sells-this", 1, "nothing")) == "item-not-found"
    assert slug(warehouse.restock("a%00b", 1, "nothing")) == "item-not-found"


def test_the_metrics_have_labels_for_known_items_only(warehouse: Inventory) -> None:
    item = warehouse.add_item(7)
    before = warehouse.metric('inventory_transactions_total{type="deduct"}')
    warehouse.deduct(line(item, 2))
    warehouse.deduct(line("label-made-up-by-a-caller"))
    assert warehouse.metric('inventory_transactions_total{type="deduct"}') == before + 1
    warehouse.wait_for_metric(f'inventory_stock_level{{item_id="{item}"}}', 5)
    page = warehouse.http.get(f"{warehouse.url}/metrics").text
    assert "label-made-up-by-a-caller" not in page
    for name in ('group_commit_batch_size_count{step="deduct"}', "db_pool_wait_seconds_count"):
        assert warehouse.metric(name) > 0
    for gremlin in ("latency", "crash", "partial_failure"):
        assert f'inventory_chaos_enabled{{type="{gremlin}"}} 0.0' in page


def test_health_names_the_dependencies(warehouse: Inventory) -> None:
    health = warehouse.http.get(f"{warehouse.url}/health").json()
    assert (health["status"], health["service"], health["replica"]) == ("ok", "inventory", "inventory-1")
    assert set(health["checks"]) == {"postgres", "redis"}
